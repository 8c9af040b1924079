package tunnel

import "time"

// PathTimes is how long packets went by each kind of path.
type PathTimes struct{ Direct, Relay time.Duration }

// spending counts PathTimes; times are the filter's. Tunnel.mu guards it.
type spending struct {
	past  PathTimes
	kind  PathKind // that is counted now; empty: none
	since time.Duration
}

// turn counts for kind from now on, for none if it is empty.
func (s *spending) turn(kind PathKind, now time.Duration) {
	s.past = s.until(now)
	s.kind, s.since = kind, now
}

// until is the sum so far.
func (s *spending) until(now time.Duration) PathTimes {
	sum := s.past
	switch took := max(now-s.since, 0); s.kind {
	case Direct:
		sum.Direct += took
	case Relay:
		sum.Relay += took
	}
	return sum
}

// spend counts for the path and state as they are; mu is held. What carries nothing
// yet, or no longer, is not counted.
func (t *Tunnel) spend() {
	kind := t.snapshot.path
	if t.state != Connected && t.state != Degraded {
		kind = ""
	}
	if kind != t.spent.kind {
		t.spent.turn(kind, t.gate.Now())
	}
}
