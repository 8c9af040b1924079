//go:build !linux && !windows

package keys

import "time"

// newClock returns a monotonic clock. Whether it counts the time asleep is the
// system's choice; macOS stops it.
func newClock() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}
