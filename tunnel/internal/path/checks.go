package path

import "time"

// window is how many checks the loss of a way is counted over.
const window = 32

// How long a check may stay unanswered before it counts as lost. An answer that
// comes later still counts as one.
const (
	lateFirst = 500 * time.Millisecond // while no round trip is known
	lateLeast = Step
	lateMost  = time.Second
)

type outcome uint8

const (
	unused outcome = iota
	pending
	passed
	lost
)

// checks are one way's checks and what came of them. The zero value has made none.
type checks struct {
	next  uint32 // sequence number of the next one
	ring  [window]result
	sent  time.Duration // the newest one
	rtt   time.Duration // smoothed; 0: unknown
	began time.Duration // when the first of the lost ones was sent; 0: none was since the newest pass
	fails int           // lost since then

	passes int           // in a row
	proved time.Duration // when the newest check that passed was sent
}

type result struct {
	seq  uint32
	sent time.Duration
	out  outcome
}

// send begins a check.
func (c *checks) send(now time.Duration) (seq uint32) {
	seq = c.next
	c.next++
	if e := &c.ring[seq%window]; e.out == pending {
		c.lose(e)
	}
	c.ring[seq%window] = result{seq, now, pending}
	c.sent = now
	return seq
}

// answer takes the round trip of a check, and reports false for one that is not
// known, or was answered before.
func (c *checks) answer(seq uint32, rtt time.Duration) bool {
	e := &c.ring[seq%window]
	if e.seq != seq || e.out == unused || e.out == passed {
		return false
	}
	if e.sent >= c.began { // not an older one that took its time
		c.began, c.fails = 0, 0
	}
	e.out = passed
	c.passes++
	c.proved = max(c.proved, e.sent)
	rtt = max(rtt, 1)
	if c.rtt == 0 {
		c.rtt = rtt
	} else {
		c.rtt += (rtt - c.rtt) / 4 // of so few, twice as fast as RFC 6298
	}
	return true
}

// fail takes a check of which it is known that no answer will come.
func (c *checks) fail(seq uint32) {
	if e := &c.ring[seq%window]; e.seq == seq && e.out == pending {
		c.lose(e)
	}
}

func (c *checks) lose(e *result) {
	e.out = lost
	if e.sent < c.proved {
		return // a later one has come back
	}
	c.passes = 0
	c.fails++
	if c.began == 0 || e.sent < c.began {
		c.began = e.sent
	}
}

// doubt makes the way prove itself anew.
func (c *checks) doubt(now time.Duration) {
	if c.began == 0 {
		c.began, c.fails = now, 1
	}
	c.sent = 0
}

// late is how long an answer may take.
func (c *checks) late() time.Duration {
	if c.rtt == 0 {
		return lateFirst
	}
	return min(max(2*c.rtt, lateLeast), lateMost)
}

// step counts what is overdue as lost, and returns when the next one is, 0 for
// never.
func (c *checks) step(now time.Duration) (next time.Duration) {
	late := c.late()
	for i := range c.ring {
		e := &c.ring[i]
		if e.out != pending {
			continue
		}
		if due := e.sent + late; now >= due {
			c.lose(e)
		} else {
			next = sooner(next, due)
		}
	}
	return next
}

// loss is the share of the last checks that were lost, and how many that were.
func (c *checks) loss() (share float64, n int) {
	lostOnes := 0
	for _, e := range c.ring {
		switch e.out {
		case lost:
			lostOnes++
			n++
		case passed:
			n++
		}
	}
	if n == 0 {
		return 0, 0
	}
	return float64(lostOnes) / float64(n), n
}

// clear forgets what was lost.
func (c *checks) clear() {
	for i := range c.ring {
		if c.ring[i].out == lost {
			c.ring[i].out = unused
		}
	}
}

// forget begins the figures anew; checks under way no longer count.
func (c *checks) forget() { *c = checks{next: c.next, sent: c.sent} }

// sooner is the earlier of two times of which 0 is never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
