package server

import "net/netip"

// sizes knows how large crowds are, and which is the largest, at the same cost however
// many there are. Its methods are not safe for concurrent use.
type sizes struct {
	of   map[netip.Prefix]int
	by   []map[netip.Prefix]struct{} // by[n]: the crowds of n
	most int
}

// crowd is who counts as one when it comes to making room: of IPv6, what a customer of
// a provider gets, which is thousands of networks.
func crowd(from netip.Prefix) netip.Prefix {
	if from.Addr().Is6() {
		from, _ = from.Addr().Prefix(48)
	}
	return from
}

// change adds d, 1 or -1, to a crowd.
func (s *sizes) change(in netip.Prefix, d int) {
	if s.of == nil {
		s.of = make(map[netip.Prefix]int)
	}
	n := s.of[in]
	if n > 0 {
		delete(s.by[n], in)
	}
	n += d
	for n >= len(s.by) {
		s.by = append(s.by, nil)
	}
	if n == 0 {
		delete(s.of, in)
	} else {
		if s.by[n] == nil {
			s.by[n] = make(map[netip.Prefix]struct{})
		}
		s.of[in], s.by[n][in] = n, struct{}{}
	}
	s.most = max(s.most, n)
	for s.most > 0 && len(s.by[s.most]) == 0 {
		s.by[s.most] = nil // a map keeps what it once held
		s.most--
	}
}

// largest is one of the largest crowds, and its size.
func (s *sizes) largest() (in netip.Prefix, n int) {
	if s.most > 0 {
		for in = range s.by[s.most] {
			break
		}
	}
	return in, s.most
}
