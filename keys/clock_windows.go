package keys

import (
	"time"

	"golang.org/x/sys/windows"
)

// newClock returns a monotonic clock that counts the time asleep
// (GetTickCount64, steps of 10 to 16 ms).
func newClock() func() time.Duration { return windows.DurationSinceBoot }
