package server

import (
	"maps"

	"github.com/boothwire/boothwire/internal/tally"
	"github.com/boothwire/boothwire/relay/internal/queue"
)

// Stats is a snapshot of a Server's counters.
type Stats struct {
	Sessions   int // with both legs there
	Legs       int
	WebSockets int // of these
	Lone       int // legs that have waited for the other one for longer than Config.Alone
	Open       int // connections that have not proved a key
	Waiting    int // that wait for their turn to

	Traffic                    // of legs that are over and those that are not
	Dropped  uint64            // bytes, for all four reasons
	Accepted uint64            // legs
	Replaced uint64            // legs, by a later generation
	Cloned   uint64            // sessions
	Refused  uint64            // connections
	Reasons  map[string]uint64 // of refusals, by code: a few words
	Wait     Histogram         // seconds from a pair's first leg, or the loss of one, to both
	QueueAge Histogram         // seconds that the oldest packet of a write had waited; Sum stays 0
}

// Traffic is what passed, and what did not.
type Traffic struct {
	Bytes   uint64 // of frames, received
	Writes  uint64 // to legs
	Aged    uint64 // bytes that waited for too long
	Crowded uint64 // bytes that found no room in the queue
	Missed  uint64 // bytes that found no other leg
	Excess  uint64 // bytes over the rate by more than a pause mends

	ages [len(queue.AgeBounds) + 1]uint64
}

func (t *Traffic) add(u *Traffic) {
	t.Bytes += u.Bytes
	t.Writes += u.Writes
	t.Aged += u.Aged
	t.Crowded += u.Crowded
	t.Missed += u.Missed
	t.Excess += u.Excess
	for i, n := range u.ages {
		t.ages[i] += n
	}
}

// traffic is what the leg did so far.
func (l *leg) traffic() Traffic {
	q := l.out.Stats()
	return Traffic{
		Bytes: l.received.Load(), Writes: q.Writes, Aged: q.DroppedAge, Crowded: q.DroppedBy,
		Missed: l.missed.Load(), Excess: l.excess.Load(), ages: q.Ages,
	}
}

// A Histogram counts values by size: Counts[i] are those up to Bounds[i] and above the
// bound before it, and the last of Counts those above all.
type Histogram = tally.Histogram

// waitBounds are seconds: an end's dial, a wake, a device that comes to need the relay.
var waitBounds = []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 300}

// queueAge is the histogram of the ages that queues counted.
func (t *Traffic) queueAge() Histogram {
	h := tally.New(make([]float64, len(queue.AgeBounds)))
	for i, d := range queue.AgeBounds {
		h.Bounds[i] = d.Seconds()
	}
	rest := t.Writes // of small frames, and those that did not wait at all
	for i, n := range t.ages {
		h.Counts[i] = n
		rest -= min(rest, n)
	}
	h.Counts[0] += rest
	return h
}

// Stats returns the counters as they are now; no total of a later call is smaller.
func (s *Server) Stats() Stats {
	st := Stats{
		Open: s.hall.count(), Lone: s.lone.count(),
		Accepted: s.accepted.Load(), Replaced: s.replaced.Load(), Cloned: s.cloned.Load(),
	}
	if l := s.lobby.Load(); l != nil {
		st.Waiting = l.count()
	}
	s.tally.Lock()
	defer s.tally.Unlock()
	s.mu.Lock()
	st.Reasons = maps.Clone(s.reasons)
	st.Traffic = s.past
	st.Wait = s.waits.Clone()
	all := s.all()
	s.mu.Unlock()
	for _, n := range st.Reasons {
		st.Refused += n
	}
	for _, p := range all {
		n := 0
		for l := range p.present() {
			n++
			t := l.traffic()
			st.add(&t)
			if l.webSocket {
				st.WebSockets++
			}
		}
		st.Legs += n
		if n == 2 {
			st.Sessions++
		}
	}
	st.Dropped = st.Aged + st.Crowded + st.Missed + st.Excess
	st.QueueAge = st.queueAge()
	return st
}

// refuse counts a refusal; its codes are a few words of ours.
func (s *Server) refuse(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reasons[code]++
}
