package path

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

const tick = 10 * time.Millisecond

// A road is one way of a simulated network, between two ends.
type road struct {
	kind  Kind
	delay time.Duration
	up    [2]bool          // from each end
	loss  float64          // of packets and of checks, each way
	since time.Duration    // when both directions came up; 0: they are not up
	there bool             // both ends have it
	next  time.Duration    // event
	calm  [2]time.Duration // the least and the most between two events
}

func (r *road) note(now time.Duration) {
	switch works := r.there && r.up[0] && r.up[1]; {
	case !works:
		r.since = 0
	case r.since == 0:
		r.since = now
	}
}

type message struct {
	at       time.Duration
	to, road int
	what     byte // 'd'ata, 'e'cho, its 'a'nswer, 'c'heck, its 'r'eply
	seq      uint32
	sent     time.Duration
}

type simEnd struct {
	m       Machine[string]
	heard   []time.Duration
	in, out time.Duration
	waiting time.Duration
	echo    time.Duration
	moves   int
}

// A sim is two ends, each with a Machine, that talk over roads which come and go.
type sim struct {
	t     *testing.T
	rnd   *rand.Rand
	now   time.Duration
	roads []*road
	ends  [2]*simEnd
	queue []message
	sent  int
	lost  int
}

func newSim(t *testing.T, seed uint64, roads ...*road) *sim {
	s := &sim{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), now: tick, roads: roads}
	for i := range s.ends {
		s.ends[i] = &simEnd{heard: make([]time.Duration, len(roads))}
	}
	s.set()
	return s
}

func name(i int) string { return fmt.Sprint("road ", i) }

func (s *sim) set() {
	for _, e := range s.ends {
		var list []Way[string]
		for i, r := range s.roads {
			w := Way[string]{ID: i + 1, Kind: r.kind, Check: true, Lasts: r.kind == Direct}
			if r.there {
				w.Route = name(i)
			}
			list = append(list, w)
		}
		e.m.Set(s.now, Auto, list)
	}
	for _, r := range s.roads {
		r.note(s.now)
	}
}

func (s *sim) post(from, road int, what byte, seq uint32) bool {
	r := s.roads[road]
	if !r.up[from] || s.rnd.Float64() < r.loss {
		return false
	}
	s.queue = append(s.queue, message{s.now + r.delay, 1 - from, road, what, seq, s.now})
	return true
}

// send sends along the paths and reports whether anything gets through.
func (s *sim) send(from int, what byte) (ok bool) {
	e := s.ends[from]
	a, b := e.m.Paths()
	for i := range s.roads {
		if n := name(i); n == a || n == b {
			ok = s.post(from, i, what, 0) || ok
		}
	}
	return ok
}

func (s *sim) run(until time.Duration, each func()) {
	for ; s.now < until; s.now += tick {
		each()
		s.deliver()
		for i := range s.ends {
			s.step(i)
		}
	}
}

func (s *sim) deliver() {
	var rest []message
	due := s.queue
	s.queue = nil
	for _, m := range due {
		if s.now < m.at {
			rest = append(rest, m)
			continue
		}
		e := s.ends[m.to]
		if m.what != 'c' && m.what != 'r' {
			e.heard[m.road] = s.now
			e.in, e.waiting = s.now, 0
		}
		switch m.what {
		case 'c':
			s.post(m.to, m.road, 'r', m.seq)
		case 'r':
			e.m.Answered(m.road+1, m.seq, 2*s.roads[m.road].delay)
		case 'e':
			s.send(m.to, 'a')
		case 'a':
			s.hear(e)
			e.m.Proved(s.now)
		}
	}
	s.queue = append(s.queue, rest...)
}

func (s *sim) hear(e *simEnd) {
	e.m.Hear(func(road string) time.Duration {
		for i, at := range e.heard {
			if name(i) == road {
				return at
			}
		}
		return 0
	})
}

func (s *sim) step(i int) {
	e := s.ends[i]
	s.hear(e)
	before, _ := e.m.Paths()
	a := e.m.Step(s.now, Facts{Waiting: e.waiting, Used: max(e.in, e.out)})
	if after, _ := e.m.Paths(); after != before {
		e.moves++
	}
	for _, c := range a.Checks {
		s.post(i, c.ID-1, 'c', c.Seq)
	}
	if next := e.m.Next(); next != 0 && next <= s.now {
		s.t.Fatalf("at %v the next step is at %v", s.now, next)
	}
	if e.waiting != 0 && s.now >= max(e.waiting, e.echo)+Step {
		e.echo = s.now
		s.send(i, 'e')
	}
}

// talk sends a packet from each end now and then, and checks the bound on those.
func (s *sim) talk(bound time.Duration) {
	if s.now%(50*time.Millisecond) != 0 {
		return
	}
	for i, e := range s.ends {
		e.out = s.now
		if e.waiting == 0 {
			e.waiting = s.now
		}
		s.sent++
		if s.send(i, 'd') {
			continue
		}
		s.lost++
		for k, r := range s.roads {
			if r.since != 0 && s.now-r.since > bound && s.broken(i) > bound {
				a, b := e.m.Paths()
				s.t.Fatalf("at %v end %d sends by %q and %q, though %s works since %v\n%s",
					s.now, i, a, b, name(k), r.since, s.describe(i))
			}
		}
	}
}

// broken is for how long nothing has got through from an end.
func (s *sim) broken(i int) time.Duration { return s.now - s.ends[1-i].in }

func (s *sim) describe(i int) (text string) {
	for _, r := range s.ends[i].m.Report() {
		text += fmt.Sprintf("%+v\n", r)
	}
	return text
}

// TestNeverWithout lets roads come and go at random: while one works in both
// directions for 1.5 s, no end is without it for longer than that.
func TestNeverWithout(t *testing.T) {
	seeds, length := uint64(25), time.Minute
	moves, sent, lost := 0, 0, 0
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 2))
		var roads []*road
		for i := range 2 + rnd.IntN(3) {
			r := &road{kind: Kind(i % 2), there: rnd.IntN(4) > 0, up: [2]bool{true, true}}
			r.delay = time.Duration(1+rnd.IntN(6)) * tick
			r.calm = [2]time.Duration{200 * time.Millisecond, time.Duration(1+rnd.IntN(20)) * time.Second}
			roads = append(roads, r)
		}
		s := newSim(t, seed, roads...)
		s.run(length, func() {
			for _, r := range s.roads {
				if s.now < r.next {
					continue
				}
				r.next = s.now + r.calm[0] + time.Duration(rnd.Int64N(int64(r.calm[1])))
				switch rnd.IntN(8) {
				case 0:
					r.up[0] = !r.up[0]
				case 1:
					r.up[1] = !r.up[1]
				case 2, 3:
					r.up = [2]bool{true, true}
				case 4, 5:
					r.up = [2]bool{}
				case 6:
					r.there = !r.there
					s.set()
				case 7:
					s.ends[rnd.IntN(2)].m.NetworkChanged(s.now)
				}
				r.note(s.now)
			}
			s.talk(1500 * time.Millisecond)
		})
		moves += s.ends[0].moves + s.ends[1].moves
		sent += s.sent
		lost += s.lost
	}
	t.Logf("%d packets, %d of them lost, %d moves", sent, lost, moves)
	if moves < 100 {
		t.Errorf("only %d moves", moves)
	}
}
