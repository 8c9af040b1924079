package keys

import (
	"time"

	"golang.org/x/sys/unix"
)

// newClock returns a monotonic clock that counts the time asleep.
func newClock() func() time.Duration {
	return func() time.Duration {
		var ts unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
			// Every Linux since 2.6.39 has it; the other one always works.
			_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
		}
		return time.Duration(ts.Nano())
	}
}
