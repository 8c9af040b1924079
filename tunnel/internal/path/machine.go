// Package path chooses among the ways to a far end: addresses of it, a direct path
// that was found through NATs, a leg at a relay. Everything in it is pure: ways,
// checks and times in, where to send and what to check out. Times are monotonic
// and above zero; zero means never.
package path

import (
	"slices"
	"time"
)

// How soon things happen. A way breaks at some moment; Busy later at most its next
// check goes, Step later that counts as lost and both ways carry, and two Steps
// later it is left: 1.25 s, and a round trip more where that is long.
const (
	// Patience is how long the first way may stay silent before packets go to
	// another one too: longer than a round trip to the other side of the world.
	Patience = 300 * time.Millisecond

	// Step is how long a check may stay unanswered, and how often a way in doubt is
	// checked.
	Step = 250 * time.Millisecond

	// Busy is how often the way that carries packets is checked, and Standby the
	// others beside it, while somebody uses the tunnel, which is Use after a packet.
	Busy    = 500 * time.Millisecond
	Standby = 5 * time.Second
	Use     = 2 * time.Second

	// Idle is how often ways are checked otherwise: as often as a silent tunnel is
	// proved.
	Idle = 20 * time.Second

	// Doubt is when packets that stay unanswered bring a second way in, whatever the
	// checks say.
	Doubt = 2 * Step

	// The primary way is asked long before that: once packets stay unanswered for two
	// round trips and quickMore, it is checked, and another way gets a copy until the
	// check is back. So what a NAT that took another port costs stays below what
	// anybody notices. That a far end takes its time to answer is no fault of the way:
	// checks that come back are four at once and then one each askPause.
	quickLeast = 60 * time.Millisecond
	quickMore  = 40 * time.Millisecond
	askPause   = 500 * time.Millisecond
	askMost    = 3 * askPause

	// deafFor is twice what a way may take to be left, and its copies to end.
	deafFor = time.Second

	// Overlap is how long the former way gets its copy after a change, so that what
	// the far end has under way, or has not noticed, is not lost.
	Overlap = 500 * time.Millisecond

	// Trouble is how long nothing may work before all ways are checked every
	// Weary instead of every Step.
	Trouble = 5 * time.Second
	Weary   = time.Second
)

// A Policy says which ways may be used.
type Policy uint8

const (
	Auto Policy = iota
	RelayOnly
	DirectOnly
)

// found is the ID of the way to an address at which the far end was found.
const found = -1

// Facts are what the tunnel knows besides.
type Facts struct {
	Waiting time.Duration // since when sent packets stay unanswered; 0: none does
	Used    time.Duration // the newest packet, either way, that somebody wanted
}

// A Check asks for a check of a way; its outcome goes to Answered or Failed.
type Check struct {
	ID  int
	Seq uint32
}

// Actions are what a Step asks for.
type Actions struct {
	Changed bool // Paths are others than after the Step before
	Checks  []Check
	Echo    bool // send an echo: a way without checks waits to be heard
}

// A Machine says by which way packets go. The zero Machine has no ways. It is not
// safe for concurrent use.
//
//	          a way comes                     it is heard, or its check passes
//	no way ────────────────► on trial ──────────────────────────────────► carrying
//	   ▲                      │   ▲ └ Patience: others carry too, in turn   │   ▲
//	   └──────────────────────┘   └─ all fail                               │   │
//	      it goes, there is no other                                        │   │
//	                                                                        │   │
//	carrying ── a more wanted way passed a check ──► moving up: both carry  │   │
//	    ▲                                               │ heard there, or   │   │
//	    └── the new one carries, Overlap long both ◄────┘ another pass      │   │
//	                                                                        ▼   │
//	asked: both carry, until its check is back ◄── packets unanswered for Quick ┤
//	    │ the check is lost                                                 │   │
//	in doubt: both carry ◄── a check was lost, packets unanswered for Doubt ┘   │
//	    ├── checks pass again ──────────────────────────────────────────────────┤
//	    └── three checks lost in a row, another way passes: that one carries ───┘
//
//	left ──checked with back-off for ever, at once when the network changed──┐
//	  ▲ fails                                                                │ passes
//	  └───────────────────── on probation ◄──────────────────────────────────┘
//	                             └── enough checks in a row, more after each
//	                                 relapse: good, and it may move up again
//
// A way that cannot be checked is judged by packets: the one that is heard while
// an echo comes back carries; it is in doubt when packets stay unanswered.
//
// A direct way that loses a tenth of its checks, or takes far longer, is left for
// a relay that does better, in the same manner.
type Machine[R comparable] struct {
	policy  Policy
	ways    []*way[R] // the preferred first
	primary *way[R]   // where packets go
	also    *way[R]   // gets a copy; nil: none does
	since   time.Duration

	rising *way[R]       // the more wanted way that carries too
	rose   time.Duration // since when
	ask    bool          // an echo would tell more
	former *way[R]       // the way before, which gets its copy until then
	until  time.Duration

	turn    int           // index in ways of the newest that joined while nothing answered
	due     time.Duration // when the next one joins
	trouble time.Duration // since when nothing is good; 0: something is
	echoed  time.Duration // when an echo last came back
	copied  time.Duration // since when a second way is in because of unanswered packets
	asked   time.Duration // since when it is because the primary way was asked; 0: it is not
	asks    time.Duration // askPause for each check that came back, from then on
	deaf    time.Duration // until when packets by other ways are no hint
	stepped time.Duration
	next    time.Duration
	told    [2]R
}

// Paths returns where to send: primary, and a copy to also unless it is none.
func (m *Machine[R]) Paths() (primary, also R) {
	if m.primary != nil {
		primary = m.primary.Route
		if m.also != nil && m.also.Route != primary {
			also = m.also.Route
		}
	}
	return primary, also
}

// Won reports whether the primary way is known to work.
func (m *Machine[R]) Won() bool { return m.primary != nil && m.primary.state == Good }

// Next returns when Step is due, 0 when it is not.
func (m *Machine[R]) Next() time.Duration { return m.next }

// Set replaces the ways, the preferred first. Those whose ID was there before keep
// their history, with the same route also their state.
func (m *Machine[R]) Set(now time.Duration, policy Policy, list []Way[R]) {
	now = max(now, 1)
	m.policy = policy
	old, f := m.ways, m.byID(found)
	m.ways = nil
	for _, n := range list {
		i := slices.IndexFunc(old, func(o *way[R]) bool { return o.ID == n.ID })
		if i < 0 {
			i = len(old)
			old = append(old, &way[R]{})
		}
		if g := m.change(now, old[i], n); g != nil {
			f = g
		}
		m.ways = append(m.ways, old[i])
	}
	if f != nil && m.allows(f) && !m.took(now, f) {
		m.ways = append(m.ways, f)
	}
	for _, p := range []**way[R]{&m.primary, &m.also, &m.rising, &m.former} {
		if *p != nil && !slices.Contains(m.ways, *p) {
			*p = nil
		}
	}
}

// change makes w what n says. It returns what takes the place of a primary way that
// has lost whoever found it, if it does.
func (m *Machine[R]) change(now time.Duration, w *way[R], n Way[R]) (ghost *way[R]) {
	var none R
	old := w.Way
	w.Way = n
	switch {
	case n.Route == none || !m.allows(w):
		if w == m.primary && w.state != Absent && old.Lasts && n.Route == none && m.allows(w) {
			ghost = &way[R]{Way: Way[R]{ID: found, Route: old.Route, Kind: old.Kind}, state: Left, since: now}
			m.primary, m.since, m.ask = ghost, now, true
		}
		w.become(now, Absent)
	case old.Route != n.Route || w.state == Absent:
		w.begin(now)
	}
	return ghost
}

// took lets a way that leads where f does take f's place.
func (m *Machine[R]) took(now time.Duration, f *way[R]) bool {
	for _, w := range m.ways {
		if w.state == Absent || w.Route != f.Route || w == f {
			continue
		}
		if m.primary == f {
			m.primary = w
			if f.state == Good {
				w.become(now, Good)
			}
			w.heard = f.heard
		}
		return true
	}
	return false
}

func (m *Machine[R]) allows(w *way[R]) bool {
	return m.policy == Auto || (m.policy == RelayOnly) == (w.Kind == Relay)
}

// Answered takes the round trip of a check.
func (m *Machine[R]) Answered(id int, seq uint32, rtt time.Duration) {
	if w := m.byID(id); w != nil && w.state != Absent {
		w.answer(seq, rtt)
	}
}

// Failed takes a check that will not be answered.
func (m *Machine[R]) Failed(id int, seq uint32) {
	if w := m.byID(id); w != nil {
		w.fail(seq)
	}
}

func (m *Machine[R]) byID(id int) *way[R] {
	for _, w := range m.ways {
		if w.ID == id {
			return w
		}
	}
	return nil
}

// Hear asks when the newest packet came by each route; before Step and Proved.
func (m *Machine[R]) Hear(newest func(R) time.Duration) {
	if len(m.ways) < 2 {
		return // nothing to tell apart
	}
	for _, w := range m.ways {
		if w.state != Absent {
			w.heard = max(w.heard, newest(w.Route))
		}
	}
}

// State returns what is held of a way, since when and, of one that was left, why.
func (m *Machine[R]) State(id int) (s State, since time.Duration, code string) {
	if w := m.byID(id); w != nil {
		return w.state, w.since, w.code
	}
	return Absent, 0, ""
}

// Recovers reports whether a way that was left passes its checks again, though not
// yet enough of them.
func (m *Machine[R]) Recovers(id int) bool {
	w := m.byID(id)
	return w != nil && w.state == Left && w.passes > 0
}

// NetworkChanged has every way prove itself at once.
func (m *Machine[R]) NetworkChanged(now time.Duration) {
	for _, w := range m.ways {
		w.retry, w.probe = 0, 0
		if w.state == Good {
			w.become(now, Doubted)
			m.startTurns(now)
		}
		w.doubt(now)
	}
}

// Roamed takes that the far end was found at another address, by a packet of which
// it is certain. Where to send may be elsewhere now.
func (m *Machine[R]) Roamed(now time.Duration, route R) {
	i := slices.IndexFunc(m.ways, func(w *way[R]) bool { return w.Route == route && w.state != Absent && w.ID != found })
	var w *way[R]
	if i >= 0 {
		w = m.ways[i]
	} else {
		n := Way[R]{ID: found, Route: route}
		if !m.allows(&way[R]{Way: n}) {
			return
		}
		if w = m.byID(found); w == nil {
			w = &way[R]{}
			m.ways = append(m.ways, w)
		}
		w.Way = n
		w.begin(now)
	}
	w.heard = now
	switch p := m.primary; {
	case p == w:
	case p != nil && p.Kind == Relay && p.state != Absent:
		// A relay that carries packets goes on; the address gets its copy, and
		// carries alone once an echo comes back from there.
		m.rising, m.rose, m.ask, m.also = w, now, true, w
	default:
		m.supersede()
		m.enthrone(now, w)
		m.also, m.former = nil, nil
	}
	if w == m.primary {
		w.become(now, Good)
	}
	m.told[0], m.told[1] = m.Paths()
}

// supersede puts a primary way without checks back on trial.
func (m *Machine[R]) supersede() {
	if p := m.primary; p != nil && !p.Check && p.state != Absent {
		p.state = Trying
	}
}
