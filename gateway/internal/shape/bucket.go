package shape

import "math"

const (
	second      = int64(1e9)
	millisecond = int64(1e6)
)

// Never is later than any time.
const Never = int64(math.MaxInt64)

// burst is how much of a rate may go at once after a pause, as time: as long as the
// reader may be late without the line falling short.
const burst = 10 * millisecond

// bucket is a rate: it is open once the time has come that what went before takes.
type bucket struct {
	rate int64 // bit/s; 0: no limit
	due  int64 // when the next packet may go, ns
}

func (b *bucket) open(now int64) bool { return b.rate == 0 || b.due <= now }

// spend counts a packet, with at most as much saved up as goes within the given time.
func (b *bucket) spend(now int64, bytes int32, within int64) {
	if b.rate != 0 {
		b.due = max(b.due, now-within) + b.takes(int64(bytes))
	}
}

// takes is how long so many bytes are on a line of that rate; 0 without one.
func (b *bucket) takes(bytes int64) int64 {
	if b.rate == 0 {
		return 0
	}
	return bytes * 8 * second / b.rate
}
