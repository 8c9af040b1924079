package server

import "maps"

// Stats returns the counters as they are now.
func (s *Server) Stats() Stats {
	st := Stats{Open: s.door.count(), Lone: s.lone.count(), Accepted: s.accepted.Load(), Cloned: s.cloned.Load(), Bytes: s.bytes.Load(), Dropped: s.dropped.Load(), Writes: s.writes.Load()}
	s.mu.Lock()
	st.Reasons = maps.Clone(s.reasons)
	all := s.all()
	s.mu.Unlock()
	for _, n := range st.Reasons {
		st.Refused += n
	}
	for _, p := range all {
		n := 0
		for l := range p.present() {
			n++
			q := l.out.Stats()
			st.Bytes += l.received.Load()
			st.Dropped += l.dropped.Load() + q.DroppedAge + q.DroppedBy
			st.Writes += q.Writes
		}
		st.Legs += n
		if n == 2 {
			st.Sessions++
		}
	}
	return st
}

// refuse counts a refusal; its codes are a few words of ours.
func (s *Server) refuse(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reasons[code]++
}
