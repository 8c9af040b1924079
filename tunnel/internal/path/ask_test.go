package path

import (
	"testing"
	"time"
)

// carrying is a bench whose direct way carries and whose relay stands by.
func carrying(t *testing.T) *bench {
	b := newBench(t, direct(1, "d"), relay(2, "r"))
	b.rtt[1], b.rtt[2] = 20*ms, 30*ms
	b.run(5*time.Second, nil)
	b.want("d", "")
	return b
}

// A NAT that took another port: the copies begin after two round trips and a bit, and
// go on until the way is left, though packets come by the relay again.
func TestAskedWayIsGone(t *testing.T) {
	b := carrying(t)
	delete(b.rtt, 1)
	b.wait = b.now
	b.within("a copy", b.run(time.Second, b.sends("d", "r")), 100*ms)
	b.wait = 0
	b.run(2*time.Second, func() bool { b.hear("r"); p, a := b.m.Paths(); return p == "r" || p != "d" || a != "r" })
	if p, _ := b.m.Paths(); p != "r" {
		b.want("r", "d")
	}
}

// A far end that takes its time to answer costs a copy for a round trip, but not each
// time.
func TestAskedWayWorks(t *testing.T) {
	b := carrying(t)
	slow := func() time.Duration {
		b.wait = b.now
		took := b.run(2*time.Second, b.sends("d", "r"))
		b.wait = 0
		b.run(time.Second, b.sends("d", ""))
		return took
	}
	waited := 0
	for n := range 10 {
		took := slow()
		b.within("a copy", took, Doubt+3*tick)
		if took > 110*ms {
			waited++
			if n < 4 {
				t.Errorf("wait %d: a copy after %v", n, took)
			}
		}
	}
	if waited == 0 {
		t.Error("each of ten was asked")
	}
	b.run(time.Minute, nil)
	b.within("a copy after a calm minute", slow(), 110*ms)
}

// One end alone sees that packets stay unanswered; the other one hears its copies, and
// asks too.
func TestAskedByHint(t *testing.T) {
	b := carrying(t)
	b.hear("r")
	b.within("a copy", b.run(time.Second, b.sends("d", "r")), 20*ms)
	b.run(time.Second, b.sends("d", ""))
	b.hear("r") // what is still under way
	b.run(200*ms, nil)
	b.want("d", "")
	b.run(2*time.Second, nil)
	delete(b.rtt, 1)
	b.hear("r")
	b.within("a copy", b.run(time.Second, b.sends("d", "r")), 20*ms)
	b.run(2*time.Second, b.sends("r", "d"))
}

// Nobody asks where nothing else could carry.
func TestNobodyToAsk(t *testing.T) {
	b := newBench(t, direct(1, "d"), relay(2, ""))
	b.rtt[1] = 20 * ms
	b.run(5*time.Second, nil)
	n := len(b.asks[1])
	b.wait = b.now
	b.run(200*ms, nil)
	b.want("d", "")
	if got := len(b.asks[1]); got > n+1 {
		t.Errorf("%d checks", got-n)
	}
}

// What was left for its checks, and passes them again, is known to recover.
func TestRecovers(t *testing.T) {
	b := carrying(t)
	for range 2 {
		delete(b.rtt, 1)
		b.run(10*time.Second, b.sends("r", ""))
		if b.m.Recovers(1) {
			t.Error("it recovers without a check that passes")
		}
		b.rtt[1] = 20 * ms
		b.run(time.Minute, func() bool { return b.m.Recovers(1) })
		b.run(time.Minute, b.sends("d", ""))
	}
	if b.m.Recovers(1) || b.m.Recovers(7) {
		t.Error("a way that works recovers")
	}
}
