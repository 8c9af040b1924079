package path

import (
	"testing"
	"time"
)

func TestChecks(t *testing.T) {
	var c checks
	first := c.send(1)
	if next := c.step(1); next != 1+lateFirst {
		t.Errorf("the first is late at %v", next)
	}
	if !c.answer(first, 20*ms) || c.answer(first, 20*ms) || c.answer(first+1, ms) || c.passes != 1 {
		t.Errorf("%d passes, want 1 of one answer and its copy", c.passes)
	}
	now := time.Second
	slow := c.send(now) // its answer will take longer than those of later ones
	for i := range 2 {
		now += Step
		c.step(now)
		if c.fails != i+1 || c.began != time.Second {
			t.Errorf("%d lost since %v, want %d", c.fails, c.began, i+1)
		}
		c.send(now)
	}
	if !c.answer(slow+1, 300*ms) {
		t.Error("a late answer is none")
	}
	if c.fails != 0 || c.began != 0 || c.passes != 1 {
		t.Errorf("after a late answer: %d lost since %v, %d passes", c.fails, c.began, c.passes)
	}
	c.lose(&c.ring[(slow+2)%window])
	if c.fails != 1 {
		t.Errorf("%d lost, want the newest", c.fails)
	}
	if c.answer(slow, 600*ms); c.fails != 1 {
		t.Error("the answer to an old check speaks for a new one")
	}
	if share, n := c.loss(); n != 4 || share != 0.25 {
		t.Errorf("lost %v of %d", share, n)
	}
	for range 3 * window { // never answered
		c.send(now)
	}
	c.step(now + lateMost)
	if share, n := c.loss(); n != window || share != 1 {
		t.Errorf("lost %v of %d", share, n)
	}
	c.forget()
	c.send(now)
	overtaken := c.next
	c.send(now + ms)
	c.answer(c.send(now+2*ms), ms)
	if c.step(now + time.Hour); c.fails != 0 {
		t.Errorf("check %d, lost before one that passed, counts", overtaken)
	}
	c.forget()
	if share, n := c.loss(); n != 0 || share != 0 || c.passes != 0 || c.next == 0 {
		t.Errorf("%+v", c)
	}
}

func TestLate(t *testing.T) {
	for _, tt := range []struct{ rtt, want time.Duration }{
		{0, lateFirst}, {ms, Step}, {125 * ms, Step}, {200 * ms, 400 * ms}, {time.Minute, lateMost},
	} {
		if got := (&checks{rtt: tt.rtt}).late(); got != tt.want {
			t.Errorf("with a round trip of %v: %v, want %v", tt.rtt, got, tt.want)
		}
	}
}

func TestSooner(t *testing.T) {
	for _, tt := range []struct{ a, b, want time.Duration }{{0, 0, 0}, {1, 0, 1}, {0, 1, 1}, {1, 2, 1}, {2, 1, 1}} {
		if got := sooner(tt.a, tt.b); got != tt.want {
			t.Errorf("of %d and %d: %d", tt.a, tt.b, got)
		}
	}
}
