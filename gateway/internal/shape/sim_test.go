package shape

import (
	"encoding/binary"
	"testing"
)

// simulation has packets of TCP senders go through a line, in simulated time. They
// are Reno's, cut to what a queue sees of them: an acknowledgement comes a round trip
// after the packet has left the line, and tells of those lost before it.
type simulation struct {
	now     int64
	line    line
	senders []*sender
	acks    []event // in order of time: the round trip is the same for all
	probes  []int64 // how long each sparse packet waited
}

// line is what is tried.
type line interface {
	// offer hands in a packet of a sender's, which may be dropped there and then.
	offer(now int64, n uint32, seq uint32, size int)
	// next returns a packet that leaves at now, or when to ask again.
	next(now int64) (n, seq uint32, at int64, ok bool)
}

type event struct {
	at     int64
	n, seq uint32
}

const (
	full = 1280 // bytes of a packet
	rtt  = 20 * millisecond
	rto  = 250 * millisecond
)

// sender is one TCP connection that always has something to send; a sparse one sends
// small packets, one each 20 ms, whatever happens.
type sender struct {
	sparse    bool
	window    float64
	threshold float64
	seq       uint32
	out       []event // sent and not known to have arrived
	recover   uint32  // no second halving before this one has arrived
	heard     int64
	got       int64 // packets that arrived
	resent    int64
}

func newSimulation(l line, senders int) *simulation {
	s := &simulation{line: l}
	for range senders {
		s.senders = append(s.senders, &sender{window: 4, threshold: 1e9})
	}
	return s
}

func (s *simulation) run(until int64) {
	tick := s.now
	for s.now < until {
		for len(s.acks) > 0 && s.acks[0].at <= s.now {
			s.acknowledge(s.acks[0])
			s.acks = s.acks[1:]
		}
		if s.now >= tick {
			s.tick()
			tick = s.now + millisecond
		}
		for n, t := range s.senders {
			for !t.sparse && float64(len(t.out)) < t.window {
				s.send(uint32(n), full)
			}
		}
		at := min(until, tick)
		if len(s.acks) > 0 {
			at = min(at, s.acks[0].at)
		}
		for {
			n, seq, due, ok := s.line.next(s.now)
			if !ok {
				at = min(at, due)
				break
			}
			s.acks = append(s.acks, event{s.now + rtt, n, seq})
		}
		s.now = max(at, s.now+1)
	}
}

// tick looks for what was all lost, and sends what is sparse.
func (s *simulation) tick() {
	for n, t := range s.senders {
		if t.sparse && s.now/millisecond%20 == int64(n)%20 {
			s.send(uint32(n), 100)
		}
		if !t.sparse && len(t.out) > 0 && s.now-t.heard > rto {
			t.resent += int64(len(t.out))
			t.out, t.heard = nil, s.now
			t.threshold = max(2, t.window/2)
			t.window, t.recover = 1, t.seq
		}
	}
}

func (s *simulation) send(n uint32, size int) {
	t := s.senders[n]
	t.seq++
	if len(t.out) == 0 {
		t.heard = s.now
	}
	t.out = append(t.out, event{s.now, n, t.seq})
	s.line.offer(s.now, n, t.seq, size)
}

func (s *simulation) acknowledge(e event) {
	t := s.senders[e.n]
	t.heard = s.now
	lost := false
	for len(t.out) > 0 && t.out[0].seq <= e.seq {
		o := t.out[0]
		t.out = t.out[1:]
		if o.seq < e.seq {
			t.resent++
			lost = lost || o.seq > t.recover
			continue
		}
		t.got++
		if t.sparse {
			s.probes = append(s.probes, s.now-o.at-rtt)
		}
	}
	switch {
	case lost:
		t.window = max(1, t.window/2)
		t.threshold, t.recover = max(2, t.window), t.seq
	case t.window < t.threshold:
		t.window++
	default:
		t.window += 1 / t.window
	}
}

// shaped is a scheduler as a line.
type shaped struct {
	*Scheduler
	session func(n uint32) uint32
	slots   [1]int32
}

func (l *shaped) offer(now int64, n, seq uint32, size int) {
	b := make([]byte, size)
	binary.BigEndian.PutUint32(b, n)
	binary.BigEndian.PutUint32(b[4:], seq)
	l.Push(now, l.session(n), Up, uint8(n*37>>2), b)
}

func (l *shaped) next(now int64) (n, seq uint32, at int64, ok bool) {
	k, at := l.Take(now, l.slots[:])
	if k == 0 {
		return 0, 0, at, false
	}
	b := l.Packet(l.slots[0])
	n, seq = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	l.Release(l.slots[:])
	return n, seq, 0, true
}

// policed is a token bucket that drops what is too much.
type policed struct {
	rate   int64
	tokens int64 // bits, times a second
	last   int64
	passed []event
}

const policedBurst = 64 << 10 // bytes

func (l *policed) offer(now int64, n, seq uint32, size int) {
	l.tokens = min(policedBurst*8*second, l.tokens+(now-l.last)*l.rate)
	l.last = now
	if cost := int64(size) * 8 * second; l.tokens >= cost {
		l.tokens -= cost
		l.passed = append(l.passed, event{now, n, seq})
	}
}

func (l *policed) next(int64) (n, seq uint32, at int64, ok bool) {
	if len(l.passed) == 0 {
		return 0, 0, Never, false
	}
	e := l.passed[0]
	l.passed = l.passed[1:]
	return e.n, e.seq, 0, true
}

// figures of a run: the shares of n sessions, 1 is fair.
type figures struct {
	least, most, total float64
	resent             float64 // of what arrived
	probes             []int64
}

// measure runs a line of rate with as many senders for 10 s after 5.
func measure(l line, rate int64, sessions int, change func(s *simulation)) figures {
	s := newSimulation(l, sessions)
	if change != nil {
		change(s)
	}
	s.run(5 * second)
	s.probes = nil
	for _, t := range s.senders {
		t.got, t.resent = 0, 0
	}
	const window = 10 * second
	s.run(s.now + window)
	f := figures{least: 1e9, probes: s.probes}
	var got, resent int64
	for _, t := range s.senders[:sessions] {
		share := float64(t.got*full*8*int64(sessions)) / float64(rate) / float64(window/second)
		f.least, f.most = min(f.least, share), max(f.most, share)
		got, resent = got+t.got, resent+t.resent
	}
	f.total = float64(got*full*8) / float64(rate) / float64(window/second)
	f.resent = float64(resent) / float64(got)
	return f
}

func newShaped(rate int64, sessions int, session func(n uint32) uint32) *shaped {
	l := &shaped{Scheduler: New(Config{Packets: 8192, Size: full, Line: rate}), session: session}
	for n := range sessions {
		l.Set(uint32(n), 0, 0)
	}
	return l
}

func itself(n uint32) uint32 { return n }

func TestFairShares(t *testing.T) {
	const rate, sessions = 100_000_000, 100
	// Beside the hundred that upload, ten who type: five in sessions of their own,
	// five in sessions that upload as well.
	typing := func(s *simulation) {
		for range 10 {
			s.senders = append(s.senders, &sender{sparse: true})
		}
	}
	session := func(n uint32) uint32 {
		if n >= sessions+5 {
			return n - sessions - 5
		}
		return n
	}
	ours := measure(newShaped(rate, sessions+5, session), rate, sessions, typing)
	theirs := measure(&policed{rate: rate}, rate, sessions, typing)
	t.Logf("shaped: shares %.2f to %.2f of %.3f, %.2f %% resent", ours.least, ours.most, ours.total, 100*ours.resent)
	t.Logf("policed: shares %.2f to %.2f of %.3f, %.2f %% resent", theirs.least, theirs.most, theirs.total, 100*theirs.resent)
	if ours.least < 0.85 || ours.most > 1.15 {
		t.Errorf("shares of %.2f to %.2f", ours.least, ours.most)
	}
	if ours.total < 0.9 || ours.total > 1 {
		t.Errorf("%.3f of the line is used", ours.total)
	}
	if ours.resent > theirs.resent/3 {
		t.Errorf("%.4f resent, policed %.4f", ours.resent, theirs.resent)
	}
	if len(ours.probes) < 4000 {
		t.Fatalf("%d small packets arrived", len(ours.probes))
	}
	var worst, sum int64
	for _, w := range ours.probes {
		worst, sum = max(worst, w), sum+w
	}
	t.Logf("small packets wait for %.2f ms, at most %.2f", float64(sum)/float64(len(ours.probes))/1e6, float64(worst)/1e6)
	if worst > 3*millisecond {
		t.Errorf("a small packet waited for %d ms", worst/millisecond)
	}
}
