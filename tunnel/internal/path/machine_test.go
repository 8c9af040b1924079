package path

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// A bench is a Machine with ways whose checks a test answers.
type bench struct {
	t    *testing.T
	m    Machine[string]
	now  time.Duration
	list []Way[string]
	pol  Policy

	rtt  map[int]time.Duration // by ID; absent: checks are lost
	lose func(id int) bool     // besides
	asks map[int][]time.Duration
	due  []answer
	wait time.Duration // Facts
	used bool
	last Actions
}

type answer struct {
	at  time.Duration
	id  int
	seq uint32
}

func newBench(t *testing.T, ways ...Way[string]) *bench {
	b := &bench{t: t, now: time.Second, rtt: make(map[int]time.Duration), asks: make(map[int][]time.Duration), list: ways, used: true}
	b.set()
	return b
}

func (b *bench) set() { b.m.Set(b.now, b.pol, b.list) }

func direct(id int, route string) Way[string] {
	return Way[string]{ID: id, Route: route, Kind: Direct, Check: true, Lasts: true}
}

func relay(id int, route string) Way[string] {
	return Way[string]{ID: id, Route: route, Kind: Relay, Check: true}
}

func plain(id int, route string) Way[string] { return Way[string]{ID: id, Route: route} }

// run lets time pass until a condition holds, in steps of 10 ms, and returns how much.
func (b *bench) run(most time.Duration, until func() bool) time.Duration {
	b.t.Helper()
	start := b.now
	for ; b.now <= start+most; b.now += tick {
		for i := 0; i < len(b.due); i++ {
			if d := b.due[i]; b.now >= d.at {
				b.due = append(b.due[:i:i], b.due[i+1:]...)
				i--
				b.m.Answered(d.id, d.seq, b.rtt[d.id])
			}
		}
		f := Facts{Waiting: b.wait}
		if b.used {
			f.Used = b.now
		}
		b.last = b.m.Step(b.now, f)
		for _, c := range b.last.Checks {
			b.asks[c.ID] = append(b.asks[c.ID], b.now)
			if rtt, ok := b.rtt[c.ID]; ok && (b.lose == nil || !b.lose(c.ID)) {
				b.due = append(b.due, answer{b.now + rtt, c.ID, c.Seq})
			}
		}
		if until != nil && until() {
			return b.now - start
		}
	}
	if until != nil {
		p, a := b.m.Paths()
		b.t.Fatalf("at %v: it did not come to that; %q and %q, %+v", b.now, p, a, b.m.Report())
	}
	return b.now - start
}

func (b *bench) sends(primary, also string) func() bool {
	return func() bool {
		p, a := b.m.Paths()
		return p == primary && a == also
	}
}

func (b *bench) want(primary, also string) {
	b.t.Helper()
	if p, a := b.m.Paths(); p != primary || a != also {
		b.t.Errorf("at %v: sends to %q and %q, want %q and %q", b.now, p, a, primary, also)
	}
}

// hear has packets come by one route.
func (b *bench) hear(route string) {
	b.m.Hear(func(r string) time.Duration {
		if r == route {
			return b.now
		}
		return 0
	})
}

func (b *bench) report(id int) Report {
	for _, r := range b.m.Report() {
		if r.ID == id {
			return r
		}
	}
	return Report{}
}

func (b *bench) working() bool { return b.m.Won() }

// within fails when something took longer than the policy says.
func (b *bench) within(what string, took, most time.Duration) {
	b.t.Helper()
	b.t.Logf("%s after %v", what, took)
	if took > most {
		b.t.Errorf("%s after %v, want %v at most", what, took, most)
	}
}

// TestAddresses is a far end with plain addresses: the first alone, then another one
// too, in turn, until one answers.
func TestAddresses(t *testing.T) {
	b := newBench(t, plain(1, "a"), plain(2, "b"), plain(3, "c"), plain(4, "b"))
	b.run(0, nil)
	b.want("a", "")
	if b.m.Won() || b.last.Changed != true {
		t.Error("the first step changes nothing")
	}
	for _, also := range []string{"b", "c", "b", "b", "c"} { // the fourth leads where the second does
		took := b.run(Patience, b.sends("a", also))
		if took > Patience {
			t.Errorf("%q after %v", also, took)
		}
		b.run(Patience-2*tick, nil)
	}
	b.hear("b")
	if !b.m.Proved(b.now) || !b.m.Won() {
		t.Error("a winner changes nothing")
	}
	b.want("b", "")
	if b.m.Proved(b.now + 1) {
		t.Error("it won twice")
	}
	b.run(time.Minute, nil)
	b.want("b", "")
	if next := b.m.Next(); next != 0 {
		t.Errorf("with nothing to do the next step is at %v", next)
	}
	b.list = []Way[string]{plain(3, "c"), plain(2, "b")}
	b.set()
	b.want("b", "")
	b.wait = b.now // silence
	took := b.run(time.Second, b.sends("b", "c"))
	b.within("the other joins", took, Doubt+tick)
	if b.m.Won() {
		t.Error("a silent address has won")
	}
	b.run(100*ms, nil)
	b.hear("b")
	b.wait = 0
	b.run(0, nil)
	b.want("b", "") // it was only slow
	b.list = []Way[string]{plain(1, "a")}
	b.set()
	b.run(0, nil)
	b.want("a", "")
}

// TestAnotherAnswers has packets come by the second address alone, but no echo.
func TestAnotherAnswers(t *testing.T) {
	b := newBench(t, plain(1, "a"), plain(2, "b"))
	b.run(0, nil)
	b.m.Proved(b.now)
	b.want("a", "")
	b.wait = b.now
	b.run(time.Second, b.sends("a", "b"))
	b.wait = 0
	b.now += tick
	b.hear("b")
	b.within("the second carries", b.run(time.Second, b.sends("b", "")), Patience+tick)
}

func TestFarEndMoves(t *testing.T) {
	b := newBench(t, plain(1, "a"))
	b.run(0, nil)
	b.m.Proved(b.now)
	b.m.Roamed(b.now, "x")
	b.want("x", "")
	b.m.Roamed(b.now, "y")
	b.want("y", "")
	b.wait = b.now
	b.run(time.Second, b.sends("y", "a"))
	b.now += tick
	b.hear("a")
	b.m.Proved(b.now)
	b.want("a", "")
	b.wait = 0
	b.run(time.Second, nil)
	if len(b.m.Report()) != 1 {
		t.Errorf("the former address is kept: %+v", b.m.Report())
	}

	called := newBench(t) // an end that waits to be called
	called.run(time.Hour/1000, nil)
	called.want("", "")
	called.m.Roamed(called.now, "x")
	called.wait = called.now
	called.run(time.Minute, nil)
	called.want("x", "")
}

// TestRelayKeepsGoing finds the far end at an address while a relay carries packets.
func TestRelayKeepsGoing(t *testing.T) {
	for _, answers := range []bool{true, false} {
		b := newBench(t, relay(1, "r"))
		b.rtt[1] = 30 * ms
		b.run(time.Second, b.working)
		b.m.Roamed(b.now, "x")
		b.want("r", "x")
		b.run(0, nil)
		if !b.last.Echo {
			t.Error("nothing asks whether the address works")
		}
		if answers {
			b.now += tick
			b.hear("x")
			b.m.Proved(b.now)
			b.run(time.Second, b.sends("x", "r"))
			b.run(time.Second, b.sends("x", ""))
		} else {
			b.run(time.Second, b.sends("r", ""))
		}
	}
}

// TestUp moves from a relay up to a direct way that comes later.
func TestUp(t *testing.T) {
	for _, heard := range []bool{false, true} {
		b := newBench(t, relay(1, "r"), direct(2, ""))
		b.rtt[1] = 40 * ms
		b.run(0, nil)
		b.want("r", "") // the first that is there carries
		b.run(time.Second, b.working)
		b.list[1].Route = "d"
		b.set()
		b.run(3*time.Second, nil)
		b.want("r", "") // no check has passed
		b.rtt[2] = 10 * ms
		b.run(10*time.Second, b.sends("r", "d"))
		if heard {
			b.now += tick
			b.hear("d")
			b.run(0, nil)
		}
		b.within("up", b.run(time.Second, b.sends("d", "r")), Step+2*tick)
		b.within("alone", b.run(time.Second, b.sends("d", "")), Overlap)
		b.run(time.Minute, nil)
		b.want("d", "")
		if r := b.report(2); r.Spent < time.Minute || !r.Primary || r.RTT != 10*ms || r.Loss != 0 {
			t.Errorf("%+v", r)
		}
	}
}

// TestBlackhole kills the direct way under way, in use and not.
func TestBlackhole(t *testing.T) {
	for _, tt := range []struct {
		name string
		rtt  time.Duration
		wait bool // packets stay unanswered: both directions are dead
		most time.Duration
	}{
		{"one direction", 20 * ms, false, 1500 * ms},
		{"both directions", 20 * ms, true, 1500 * ms},
		{"a long way", 120 * ms, false, 1500 * ms},
		{"a very long way", 280 * ms, false, 2000 * ms},
	} {
		for phase := range 25 {
			b := newBench(t, relay(1, "r"), direct(2, "d"))
			b.rtt[1], b.rtt[2] = 2*tt.rtt, tt.rtt
			b.run(5*time.Second, b.sends("d", ""))
			b.run(3*time.Second+time.Duration(phase)*2*tick, nil)
			delete(b.rtt, 2)
			b.due = nil
			if tt.wait {
				b.wait = b.now
			}
			both := b.run(5*time.Second, b.sends("d", "r"))
			b.wait = 0 // the copies are answered
			left := both + b.run(5*time.Second, func() bool { p, _ := b.m.Paths(); return p == "r" })
			if left > tt.most {
				t.Errorf("%s: both carry after %v, left after %v, want %v at most", tt.name, both, left, tt.most)
			}
			if r := b.report(2); r.State != Left || r.Code != NoReply || r.Relapses != 1 {
				t.Errorf("%s: %+v", tt.name, r)
			}
			b.run(time.Second, b.sends("r", ""))
		}
	}
}

// TestIdle counts the checks of a tunnel that nobody uses, and the time until it
// notices that its way has gone.
func TestIdle(t *testing.T) {
	b := newBench(t, relay(1, "r"), direct(2, "d"))
	b.rtt[1], b.rtt[2] = 40*ms, 10*ms
	b.run(5*time.Second, b.sends("d", ""))
	b.used = false
	b.run(time.Minute, nil)
	clear(b.asks)
	b.run(10*time.Minute, nil)
	if n := len(b.asks[1]) + len(b.asks[2]); n > 2*30 {
		t.Errorf("%d checks in ten minutes", n)
	}
	b.used = true
	b.run(tick, nil)
	delete(b.rtt, 2)
	b.within("left after idling", b.run(5*time.Second, func() bool { p, _ := b.m.Paths(); return p == "r" }), 1500*ms)
}

// TestBack brings a left way back: with back-off, at once after a change of the
// network, and later after each relapse.
func TestBack(t *testing.T) {
	b := newBench(t, relay(1, "r"), direct(2, "d"))
	b.rtt[1], b.rtt[2] = 40*ms, 10*ms
	b.run(5*time.Second, b.sends("d", ""))
	fall := func() {
		delete(b.rtt, 2)
		b.due = nil
		b.run(3*time.Second, b.sends("r", ""))
	}
	fall()
	clear(b.asks)
	b.run(10*time.Minute, nil)
	asks := b.asks[2]
	if len(asks) > 40 || asks[len(asks)-1]-asks[len(asks)-2] != retryMost {
		t.Errorf("%d checks in ten minutes: %v", len(asks), asks)
	}
	b.m.NetworkChanged(b.now)
	clear(b.asks)
	b.run(0, nil)
	if len(b.asks[2]) != 1 || len(b.asks[1]) != 1 {
		t.Errorf("a change of the network asks %v", b.asks)
	}
	var before time.Duration
	for i := range 7 {
		b.rtt[2] = 10 * ms
		b.m.NetworkChanged(b.now)
		back := b.run(2*time.Minute, b.sends("d", ""))
		t.Logf("relapse %d: back after %v", i+1, back)
		if r := b.report(2); r.Loss != 0 {
			t.Errorf("a loss of %v before it works", r.Loss)
		}
		if back < before || back < time.Second {
			t.Errorf("back after %v, the time before after %v", back, before)
		}
		before = back
		fall()
	}
	if before > 45*time.Second {
		t.Errorf("at last only after %v", before)
	}
	// Forgiven after a while.
	b.rtt[2] = 10 * ms
	b.run(2*time.Minute, b.sends("d", ""))
	b.run(10*time.Minute, nil)
	if r := b.report(2); r.Relapses != 0 {
		t.Errorf("%+v", r)
	}
}

// TestLastResort uses a way on probation when there is nothing else.
func TestLastResort(t *testing.T) {
	b := newBench(t, relay(1, "r"), direct(2, "d"))
	b.rtt[1], b.rtt[2] = 40*ms, 10*ms
	b.run(5*time.Second, b.sends("d", ""))
	for range 3 {
		delete(b.rtt, 2)
		b.run(3*time.Second, b.sends("r", ""))
		b.rtt[2] = 10 * ms
		b.run(2*time.Minute, b.sends("d", ""))
	}
	delete(b.rtt, 2)
	b.due = nil
	b.run(3*time.Second, b.sends("r", ""))
	delete(b.rtt, 1)
	b.due = nil
	b.run(10*time.Second, nil)
	b.rtt[2] = 10 * ms
	b.within("the direct way carries", b.run(5*time.Second, func() bool { p, _ := b.m.Paths(); return p == "d" && b.m.Won() }), 1500*ms)
}

// TestQuality leaves a direct way that is worse than the relay, and comes back.
func TestQuality(t *testing.T) {
	onRelay := func(b *bench) func() bool { return func() bool { p, _ := b.m.Paths(); return p == "r" } }
	begin := func() *bench {
		b := newBench(t, relay(1, "r"), direct(2, "d"))
		b.rtt[1], b.rtt[2] = 60*ms, 40*ms
		b.run(5*time.Second, b.sends("d", ""))
		return b
	}
	t.Run("loss", func(t *testing.T) {
		b := begin()
		n := 0
		b.lose = func(id int) bool { n++; return id == 2 && n%5 == 0 } // one of five at most
		b.within("left", b.run(time.Minute, onRelay(b)), 30*time.Second)
		if r := b.report(2); r.Code != Lossy {
			t.Errorf("%+v", r)
		}
		b.lose = nil
		b.within("back", b.run(time.Minute, b.sends("d", "")), 10*time.Second)
	})
	t.Run("a little loss", func(t *testing.T) {
		b := begin()
		n := 0
		b.lose = func(id int) bool { n++; return id == 2 && n%20 == 0 }
		b.run(5*time.Minute, func() bool { return onRelay(b)() || b.now > 5*time.Minute })
		if p, _ := b.m.Paths(); p != "d" {
			t.Errorf("left for a loss of %v", b.report(2).Loss)
		}
	})
	t.Run("the relay loses as much", func(t *testing.T) {
		b := begin()
		n := map[int]int{}
		b.lose = func(id int) bool { n[id]++; return n[id]%(3*id) == 1 }
		b.run(2*time.Minute, nil)
		if r := b.report(2); r.Code == Lossy {
			t.Errorf("%+v", r)
		}
	})
	t.Run("slow", func(t *testing.T) {
		b := begin()
		b.rtt[2] = 240 * ms
		b.within("left", b.run(time.Minute, onRelay(b)), 20*time.Second)
		if r := b.report(2); r.Code != Slow {
			t.Errorf("%+v", r)
		}
		b.run(2*time.Minute, nil)
		b.want("r", "") // still slow
		b.rtt[2] = 130 * ms
		b.run(2*time.Minute, nil)
		b.want("r", "") // better, but not by a margin
		b.rtt[2] = 50 * ms
		b.within("back", b.run(2*time.Minute, b.sends("d", "")), 40*time.Second)
	})
	t.Run("somewhat slow", func(t *testing.T) {
		b := begin()
		b.rtt[2] = 150 * ms
		b.run(2*time.Minute, nil)
		b.want("d", "")
	})
}

func TestPolicies(t *testing.T) {
	for _, tt := range []struct {
		policy Policy
		want   string
	}{{Auto, "d"}, {DirectOnly, "d"}, {RelayOnly, "r"}} {
		b := newBench(t, relay(1, "r"), direct(2, "d"))
		b.rtt[1], b.rtt[2] = 40*ms, 10*ms
		b.pol = tt.policy
		b.set()
		b.run(10*time.Second, nil)
		b.want(tt.want, "")
		if tt.policy == RelayOnly {
			b.m.Roamed(b.now, "x")
			b.want("r", "")
			if len(b.asks[2]) != 0 {
				t.Error("a direct way is checked")
			}
		}
		if tt.policy == DirectOnly && len(b.asks[1]) != 0 {
			t.Error("a relay is checked")
		}
		delete(b.rtt, 2)
		delete(b.rtt, 1)
		b.wait = b.now
		b.run(10*time.Second, func() bool {
			p, a := b.m.Paths()
			if tt.policy != Auto && (p != tt.want || a != "") {
				t.Fatalf("sends to %q and %q", p, a)
			}
			return b.now > 18*time.Second
		})
	}
	b := newBench(t, relay(1, "r"), direct(2, "d"))
	b.rtt[1], b.rtt[2] = 40*ms, 10*ms
	b.run(5*time.Second, b.sends("d", ""))
	b.pol = RelayOnly // later
	b.set()
	b.run(time.Second, nil)
	b.want("r", "")
	b.pol = Auto
	b.set()
	b.run(5*time.Second, b.sends("d", ""))
}

// TestFinderGone keeps sending to an address whose finder has gone, until there is
// another way, and takes the address over when it is found again.
func TestFinderGone(t *testing.T) {
	b := newBench(t, direct(2, "d"))
	b.rtt[2] = 10 * ms
	b.run(time.Second, b.working)
	b.list[0].Route = ""
	b.set()
	b.run(5*time.Second, nil)
	b.want("d", "")
	b.list = append([]Way[string]{relay(1, "r")}, b.list...)
	b.rtt[1] = 40 * ms
	b.set()
	b.within("the relay carries", b.run(time.Second, b.sends("r", "d")), 200*ms)
	b.run(time.Second, b.sends("r", ""))

	b.list[1].Route = "d"
	b.set()
	b.run(5*time.Second, b.sends("d", ""))
	b.list[1].Route = ""
	b.set()
	b.want("d", "")
	b.list[1].Route = "d" // the same, before anything else
	b.set()
	b.want("d", "")
	if r := b.report(2); !r.Primary {
		t.Errorf("%+v", r)
	}
	b.run(2*time.Second, nil)
	b.want("d", "")

	b.list[0].Route = "" // a stream does not go on without its connection
	b.list[1].Route = ""
	b.set()
	b.list = b.list[:1]
	b.set()
	b.run(0, nil)
	if p, _ := b.m.Paths(); p == "r" {
		t.Error("sends into a stream that has ended")
	}
}

// TestPassesOnlyChecks has a direct way on which checks pass and packets do not.
func TestPassesOnlyChecks(t *testing.T) {
	for _, both := range []bool{false, true} { // packets come by the direct way too
		b := newBench(t, relay(1, "r"), direct(2, "d"))
		b.rtt[1], b.rtt[2] = 40*ms, 10*ms
		b.run(5*time.Second, b.sends("d", ""))
		b.wait = b.now
		b.within("the relay joins", b.run(2*time.Second, b.sends("d", "r")), Doubt+tick)
		joined := b.now
		for b.now += tick; b.report(2).Code == "" && b.now < joined+5*time.Second; b.now += tick {
			b.hear("r")
			if both {
				b.hear("d")
			}
			b.m.Proved(b.now)
			b.run(0, nil)
		}
		switch r := b.report(2); {
		case both && r.Code != "":
			t.Errorf("left though packets came: %+v", r)
		case !both && (r.Code != Silent || b.now-b.wait > 1500*ms || b.now-joined < Doubt):
			t.Errorf("%v after the relay joined: %+v", b.now-joined, r)
		}
	}
}

// TestUnchecked moves between a relay and addresses that cannot be checked, as
// towards a node.
func TestUnchecked(t *testing.T) {
	b := newBench(t, plain(1, "a"), relay(2, ""))
	b.rtt[2] = 20 * ms
	b.run(200*ms, nil)
	b.want("a", "")
	b.list[1].Route = "r"
	b.set()
	b.within("the relay carries", b.run(time.Second, func() bool { p, _ := b.m.Paths(); return p == "r" }), Patience)
	tries, on := 0, false
	for range 2000 { // no answer by UDP: tried again, ever more rarely
		b.run(0, nil)
		b.now += tick
		_, a := b.m.Paths()
		if a == "a" && !on {
			if tries++; tries > 1 && !b.last.Echo { // the first is the overlap
				t.Error("nothing asks whether it works")
			}
		}
		on = a == "a"
	}
	if tries < 2 || tries > 6 {
		t.Errorf("tried %d times in 20 s", tries)
	}
	b.run(2*time.Minute, b.sends("r", "a"))
	b.now += tick
	b.hear("a")
	b.m.Proved(b.now)
	b.run(time.Second, b.sends("a", "r"))
	b.run(time.Second, b.sends("a", ""))
}

// TestLateAnswers takes answers that come after the next check was sent.
func TestLateAnswers(t *testing.T) {
	b := newBench(t, relay(1, "r"), direct(2, "d"))
	b.rtt[1], b.rtt[2] = 700*ms, 600*ms
	b.run(5*time.Second, b.sends("d", ""))
	b.run(time.Minute, func() bool {
		if p, _ := b.m.Paths(); p != "d" {
			t.Fatalf("%v: left for %+v", b.now, b.m.Report())
		}
		return b.now > 40*time.Second
	})
	b.m.Answered(2, 1<<30, ms)
	b.m.Failed(2, 1<<30)
	b.m.Answered(99, 0, ms)
	b.m.Failed(99, 0)
	b.want("d", "")
}
