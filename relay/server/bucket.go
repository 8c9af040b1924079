package server

import "time"

// A bucket is a rate for one direction of a session. What is over it is not
// dropped here: the reader pauses, and TCP tells the sender.
type bucket struct {
	rate float64 // bytes/s; 0: none
	debt float64 // bytes
	last time.Duration
}

const (
	burst    = 128 << 10 // bytes
	maxPause = 250 * time.Millisecond
)

// take takes n bytes and returns how long to pause before the next are read.
func (b *bucket) take(n int, now time.Duration) time.Duration {
	if b.rate <= 0 {
		return 0
	}
	b.debt = max(0, b.debt-(now-b.last).Seconds()*b.rate) + float64(n)
	b.last = now
	if b.debt <= burst {
		return 0
	}
	return min(maxPause, time.Duration((b.debt-burst)/b.rate*float64(time.Second)))
}
