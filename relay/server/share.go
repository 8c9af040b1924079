package server

import (
	"math"
	"sync/atomic"
	"time"
)

// A share divides the relay's total rate: it is what each direction of a session may
// have at most, the same for all, and it falls and rises until what all have together
// is the total. Those that want less than it have what they want, and those that want
// more have the same (max-min fairness).
//
// It settles within some seconds, and after a pause, in which nobody moves it, at once.
// Nobody waits for a lock in it: whoever comes first after an interval moves it.
type share struct {
	total  float64       // bytes/s
	bits   atomic.Uint64 // of the share, a float64 in bytes/s
	passed atomic.Int64  // bytes since then
	since  atomic.Int64  // ns since Server.epoch
	mean   atomic.Uint64 // of the rate, smoothed, a float64 in bytes/s
}

const (
	shareEvery = 100 * time.Millisecond
	shareLeast = 1000 // bytes/s: enough for handshakes and keepalives
	shareRise  = 1.03 // in an interval, at most, while something is left over
	shareGain  = 0.03 // the power of total/rate that it rises by: slower towards the total
	shareFall  = 0.9  // in an interval, at most
	shareMost  = 600  // intervals that one move is for: from the least share to any total

	// A slow direction is paused and passes a batch in an interval, and none in the
	// next ones: the mean of two seconds says what that is.
	shareMean = 0.05
)

func newShare(total float64) *share {
	s := &share{total: total}
	s.bits.Store(math.Float64bits(total))
	return s
}

// each is the share now, in bytes/s.
func (s *share) each() float64 { return math.Float64frombits(s.bits.Load()) }

// take counts n bytes that passed.
func (s *share) take(n int, now time.Duration) {
	s.passed.Add(int64(n))
	since := s.since.Load()
	took := now - time.Duration(since)
	if took < shareEvery || !s.since.CompareAndSwap(since, int64(now)) {
		return
	}
	rate := float64(s.passed.Swap(0)) / took.Seconds()
	mean := math.Float64frombits(s.mean.Load())
	rate = mean + (rate-mean)*min(1, shareMean*took.Seconds()/shareEvery.Seconds())
	each := s.each()
	intervals := min(took.Seconds()/shareEvery.Seconds(), shareMost)
	switch {
	case rate > s.total:
		fall := max(s.total/rate, math.Pow(shareFall, intervals))
		each *= fall
		// What passes follows. A mean that remembered what passed before would have it
		// fall on, for as long as that is.
		rate *= fall
	case rate < 0.95*s.total:
		each *= math.Pow(min(shareRise, math.Pow(s.total/rate, shareGain)), intervals)
	}
	s.mean.Store(math.Float64bits(rate))
	s.bits.Store(math.Float64bits(min(max(each, shareLeast), s.total)))
}
