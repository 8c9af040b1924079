package bind

import (
	"net/netip"
	"slices"
	"time"
)

// A Route is one way to a peer: a UDP address, or a stream of its packets such as a
// leg at a relay. Routes can be compared; the zero Route is none.
type Route struct {
	addr   netip.AddrPort
	stream *stream
}

// At is the route to a UDP address; of an invalid one it is none.
func At(addr netip.AddrPort) Route {
	if !addr.IsValid() {
		return Route{}
	}
	return Route{addr: unmap(addr)}
}

// Addr is the UDP address, invalid for a stream.
func (r Route) Addr() netip.AddrPort { return r.addr }

// IsStream reports whether packets go through a stream.
func (r Route) IsStream() bool { return r.stream != nil }

// IsZero reports whether r is none.
func (r Route) IsZero() bool { return r == Route{} }

// Heard returns how many of p's packets came by r, and when the newest did, the zero
// time for never. They are counted before WireGuard authenticates them, and an
// address from the time on that it is a known one.
func (p *Peer) Heard(r Route) (packets uint64, last time.Time) {
	s := p.source(r)
	if s == nil {
		return 0, time.Time{}
	}
	return s.heard.Load(), p.bind.at(s.rx.Load())
}

// source is what packets by r are counted at, nil when nothing can come by it.
func (p *Peer) source(r Route) *source {
	if r.stream != nil {
		if r.stream.src.peer != p {
			return nil
		}
		return r.stream.src
	}
	p.bind.mu.Lock()
	defer p.bind.mu.Unlock()
	if i := slices.IndexFunc(p.sources, func(s *source) bool { return s.addr == r.addr }); i >= 0 {
		return p.sources[i]
	}
	return nil
}
