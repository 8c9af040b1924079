package server

import "time"

// A bucket is a rate for one direction of a session. Whoever is over it is not read
// for a while, and TCP tells him. Only where that while would be so long that his
// pings went unanswered does the bucket shut, and his packets are lost.
type bucket struct {
	rate float64 // bytes/s, the session's; 0: none
	most float64 // bytes/s, its share of the relay's; 0: none
	debt float64 // bytes
	last time.Duration
}

const (
	burst    = 128 << 10 // bytes
	maxPause = 250 * time.Millisecond
)

// shut reports whether what comes now is over the rate by more than a pause mends.
func (b *bucket) shut(now time.Duration) bool {
	rate := b.limit()
	b.debt = max(0, b.debt-(now-b.last).Seconds()*rate)
	b.last = now
	return rate > 0 && b.debt > burst+rate*maxPause.Seconds()
}

// limit is the lower of both rates; 0: none.
func (b *bucket) limit() float64 {
	if b.rate <= 0 || b.most > 0 && b.most < b.rate {
		return b.most
	}
	return b.rate
}

// take takes n bytes, after shut, and returns how long to pause before the next are
// read.
func (b *bucket) take(n int) time.Duration {
	rate := b.limit()
	if rate <= 0 {
		return 0
	}
	b.debt += float64(n)
	if b.debt <= burst {
		return 0
	}
	return min(maxPause, time.Duration((b.debt-burst)/rate*float64(time.Second)))
}
