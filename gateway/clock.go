package gateway

import "time"

// instant is one moment on both clocks. Grants end by the wall clock; the
// monotonic one says how long that is from now, and tells when the wall clock was
// set.
type instant struct {
	wall time.Time
	mono time.Duration
}

// horizon is beyond all that matters here, and far from where a time.Duration ends.
const horizon = 10 * 365 * 24 * time.Hour

// until is how long it is until t by the wall clock, at most horizon.
func (i instant) until(t time.Time) time.Duration { return min(t.Sub(i.wall), horizon) }

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
