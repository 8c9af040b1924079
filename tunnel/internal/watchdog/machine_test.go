package watchdog

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// world plays a far end against a machine on a clock of its own.
type world struct {
	t        *testing.T
	m        Machine
	now      time.Duration
	in, out  time.Duration // newest packets
	answers  bool          // whether echoes come back, at once
	echoes   []time.Duration
	repairs  []time.Duration
	doubted  []time.Duration
	restored []time.Duration
}

// until runs the machine's own timer up to the given time.
func (w *world) until(end time.Duration) {
	for n := 0; ; n++ {
		if n > 100000 {
			w.t.Fatalf("the machine spins at %v", w.now)
		}
		w.step()
		next := w.m.Next()
		if next > end {
			w.now = end
			return
		}
		w.now = max(next, w.now)
	}
}

func (w *world) step() {
	a := w.m.Step(w.now, w.in, w.out)
	w.take(a)
	if a.Echo {
		w.echoes = append(w.echoes, w.now)
		w.m.Sent(w.now)
		if w.answers {
			w.in = w.now + 1
			w.take(w.m.Proved(w.now + 1))
		}
	}
}

func (w *world) take(a Actions) {
	if a.Repair {
		w.repairs = append(w.repairs, w.now)
	}
	if a.Doubted {
		w.doubted = append(w.doubted, w.now)
	}
	if a.Restored {
		w.restored = append(w.restored, w.now)
	}
}

func TestConnects(t *testing.T) {
	w := &world{t: t, now: 1 * ms, answers: true}
	w.step()
	if len(w.echoes) != 1 || len(w.restored) != 1 || w.m.State() != Connected {
		t.Fatalf("echoes %v, restored %v", w.echoes, w.restored)
	}
	w.until(10*time.Minute + 10*time.Second)
	if n := len(w.echoes); n != 31 {
		t.Errorf("%d echoes in ten idle minutes, want one at first and 30", n)
	}
	if len(w.repairs)+len(w.doubted) != 0 {
		t.Errorf("repairs %v, doubted %v", w.repairs, w.doubted)
	}
}

func TestDataBeforeTheFirstEcho(t *testing.T) {
	w := &world{t: t, now: 1 * ms}
	w.until(100 * ms)
	w.in = 50 * ms
	w.step()
	if w.m.State() != Connecting || w.m.LastProof() != 0 {
		t.Error("connected before an echo was answered")
	}
}

func TestNeverAnswers(t *testing.T) {
	w := &world{t: t, now: 1 * ms}
	w.until(5 * time.Minute)
	want := []time.Duration{5, 10, 15, 20, 30, 50, 90, 150, 210, 270}
	if len(w.repairs) != len(want) {
		t.Fatalf("repairs %v, want %v s", w.repairs, want)
	}
	for i, r := range w.repairs {
		if r != want[i]*time.Second+ms {
			t.Errorf("repair %d at %v, want %v s", i, r, want[i])
		}
	}
	if len(w.doubted) != 0 || w.m.State() != Connecting {
		t.Error("a tunnel that never connected is degraded")
	}
	if n := len(w.echoes); n < 250 || n > 330 {
		t.Errorf("%d echoes in five minutes, want four a second for five seconds, then one a second", n)
	}
}

func TestDataProves(t *testing.T) {
	w := &world{t: t, now: 1 * ms, answers: true}
	w.step()
	for range 1000 { // data both ways, every 100 ms
		w.until(w.now + 100*ms)
		w.out, w.in = w.now, w.now+5*ms
		w.step()
		w.now += 5 * ms
	}
	if n := len(w.echoes); n != 1 {
		t.Errorf("%d echoes beside data, want the first", n)
	}
}

func TestOutageAndReturn(t *testing.T) {
	w := &world{t: t, now: 1 * ms, answers: true}
	w.until(time.Second)
	w.answers = false
	sent := w.now
	w.out = sent
	w.until(sent + 4900*ms)
	if len(w.echoes) < 2 || w.echoes[1] != sent+Probe {
		t.Errorf("echoes %v, want one at %v", w.echoes, sent+Probe)
	}
	if n := len(w.echoes) - 1; n != 19 {
		t.Errorf("%d echoes in 4.9 s, want one each 250 ms", n)
	}
	if len(w.doubted) != 1 || w.doubted[0] != sent+Doubt {
		t.Errorf("doubted at %v, want once at %v", w.doubted, sent+Doubt)
	}
	w.until(sent + 11*time.Second)
	if len(w.repairs) != 2 || w.repairs[0] != sent+Repair {
		t.Errorf("repairs %v, want the first at %v", w.repairs, sent+Repair)
	}
	w.in = w.now // a packet of the far end's, no echo
	w.step()
	if w.m.State() != Connected || len(w.restored) != 2 {
		t.Errorf("state %v, restored %v", w.m.State(), w.restored)
	}
	w.answers = true
	w.until(w.now + time.Minute)
	if len(w.repairs) != 2 || len(w.doubted) != 1 {
		t.Errorf("repairs %v, doubted %v after the return", w.repairs, w.doubted)
	}
}

func TestIdleOutage(t *testing.T) {
	w := &world{t: t, now: 1 * ms, answers: true}
	w.until(time.Second)
	w.answers = false
	w.until(40 * time.Second)
	if len(w.doubted) != 1 || w.doubted[0] > Idle+Doubt+time.Second {
		t.Errorf("doubted %v, want after one idle time and %v", w.doubted, Doubt)
	}
}

func TestOldPacketIsNoProof(t *testing.T) {
	w := &world{t: t, now: 1 * ms, answers: true}
	w.until(time.Second)
	w.answers = false
	w.out = w.now
	w.step()
	w.in = w.now - 10*ms // arrived before the unanswered one was sent
	w.until(w.now + 2*time.Second)
	if len(w.doubted) != 1 {
		t.Errorf("doubted %v", w.doubted)
	}
}

func TestReset(t *testing.T) {
	w := &world{t: t, now: 1 * ms, answers: true}
	w.until(time.Second)
	n := len(w.echoes)
	w.m.Reset()
	w.step()
	if len(w.echoes) != n+1 {
		t.Error("no echo at once after a reset")
	}
}

func TestMeter(t *testing.T) {
	var m Meter
	if m.Loss(time.Hour) != 0 || m.RTT() != 0 {
		t.Error("a meter that has seen nothing knows something")
	}
	now := time.Second
	for i := range 8 {
		seq := m.Sent(now)
		if i%4 != 0 {
			if rtt, ok := m.Answered(seq, now+40*ms); !ok || rtt != 40*ms {
				t.Errorf("got %v, %v", rtt, ok)
			}
			if _, ok := m.Answered(seq, now+50*ms); ok {
				t.Error("answered twice")
			}
		}
		now += time.Second
	}
	if got := m.Loss(now + late); got != 0.25 {
		t.Errorf("loss %v, want 0.25", got)
	}
	m.Tried(now)
	if got := m.Loss(now + 2*late); got != 0.25 {
		t.Errorf("loss %v with a tried size that stayed away, want 0.25", got)
	}
	if m.RTT() != 40*ms {
		t.Errorf("rtt %v", m.RTT())
	}
	if _, ok := m.Answered(999, now); ok {
		t.Error("an answer to nothing counts")
	}
	for range window {
		m.Sent(now)
	}
	if _, ok := m.Answered(1, now); ok {
		t.Error("an answer from before the window counts")
	}
	if got := m.Loss(now); got != 0 {
		t.Errorf("echoes under way count as lost: %v", got)
	}
}

func TestMeterWraps(t *testing.T) {
	m := Meter{next: 65535}
	a, b := m.Sent(ms), m.Sent(ms)
	if a != 65535 || b != 0 {
		t.Fatalf("%d, %d", a, b)
	}
	if _, ok := m.Answered(b, 2*ms); !ok {
		t.Error("lost the count at its end")
	}
}

func TestClock(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		wall time.Duration
		mono time.Duration
		want time.Duration
	}{
		{"bearings", 0, 0, 0},
		{"together", time.Hour, time.Hour, 0},
		{"slewed", time.Hour + 29*time.Second, time.Hour, 0},
		{"back a year", -365 * 24 * time.Hour, time.Hour, -365*24*time.Hour - time.Hour},
		{"together again", -365*24*time.Hour + time.Minute, time.Hour + time.Minute, 0},
		{"forward", time.Hour, time.Hour + time.Minute, 365*24*time.Hour + time.Hour - time.Minute},
	}
	var c Clock
	for _, tt := range tests {
		if got := c.Check(base.Add(tt.wall), tt.mono); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestSuspectAsksAtOnceAndRepairsSoon(t *testing.T) {
	for _, answers := range []bool{true, false} {
		w := &world{t: t, now: 1, answers: true}
		w.until(3 * time.Second)
		w.answers, w.echoes = answers, nil
		at := w.now
		w.m.Suspect(at)
		w.until(at + 2*time.Second)
		if len(w.echoes) == 0 || w.echoes[0] != at {
			t.Errorf("answers %v: echoes at %v, want one at %v", answers, w.echoes, at)
		}
		if answers && (len(w.repairs) > 0 || len(w.echoes) > 1) {
			t.Errorf("an answered echo led to %d more and repairs at %v", len(w.echoes)-1, w.repairs)
		}
		if !answers && (len(w.repairs) == 0 || w.repairs[0] != at+Suspect) {
			t.Errorf("repairs at %v, want the first at %v", w.repairs, at+Suspect)
		}
	}
	var m Machine
	m.Suspect(5)
	if m.Waiting() != 0 {
		t.Error("a tunnel that was never proved is suspected")
	}
}

// Where the round trip is known to be short, the first echo of a wait is too: but not
// of every wait, because a far end may have nothing to say.
func TestQuickEcho(t *testing.T) {
	w := &world{t: t, now: 1 * ms, answers: true}
	w.m.Quick = 60 * ms
	w.step()
	w.echoes = nil
	var after []time.Duration
	for range 6 {
		w.now += 10 * ms
		w.out = w.now
		sent := w.now
		w.step()
		before := len(w.echoes)
		for len(w.echoes) == before {
			w.now = max(w.m.Next(), w.now+1)
			w.step()
		}
		after = append(after, w.now-sent)
	}
	for n, got := range after {
		want := 60 * ms
		if n >= 4 {
			want = Probe
		}
		if got != want {
			t.Errorf("wait %d: an echo after %v, want %v", n, got, want)
		}
	}
	// The budget comes back.
	w.until(w.now + 3*time.Second)
	w.now += 10 * ms
	w.out = w.now
	sent := w.now
	w.step()
	w.answers = false
	w.until(w.now + 400*ms)
	if n := len(w.echoes); w.echoes[n-2] != sent+60*ms || w.echoes[n-1] != sent+60*ms+Probe {
		t.Errorf("echoes %v after a packet at %v", w.echoes, sent)
	}
}

func TestMeterLeast(t *testing.T) {
	var m Meter
	answer := func(at, rtt time.Duration) {
		seq := m.Sent(at)
		m.Answered(seq, at+rtt)
	}
	answer(1*ms, 400*ms) // waited for the handshake
	answer(time.Second, 20*ms)
	if m.Least() != 20*ms {
		t.Errorf("%v at least", m.Least())
	}
	for n := range time.Duration(200) {
		answer(2*time.Second+n*time.Second, 80*ms)
	}
	if m.Least() < 70*ms || m.Least() > 80*ms {
		t.Errorf("%v at least after the path has become slower", m.Least())
	}
}
