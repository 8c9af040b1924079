package gateway

import "time"

// instant is one moment on both clocks. Grants end by the wall clock; the
// monotonic one says how long that is from now, and tells when the wall clock was
// set.
type instant struct {
	wall time.Time
	mono time.Duration
}

// clock reads both clocks.
type clock func() instant

func systemClock() clock {
	start := time.Now()
	return func() instant {
		now := time.Now()
		return instant{wall: now.Round(0), mono: now.Sub(start)}
	}
}

// stepTolerance is more than clocks that are slewed drift apart in maxSleep.
const stepTolerance = time.Second

// stepped reports whether the wall clock was set between two instants.
func stepped(from, to instant) bool {
	d := to.wall.Sub(from.wall) - (to.mono - from.mono)
	return d > stepTolerance || d < -stepTolerance
}
