package bind

import (
	"maps"
	"net/netip"
	"sync/atomic"
	"time"
)

// A source is an address that one peer's packets come from.
type source struct {
	peer *Peer
	addr netip.AddrPort
	rx   atomic.Int64 // when the newest packet came, on the Bind's clock; 0: none
}

func (s *source) touch(now time.Duration) { s.rx.Store(int64(now)) }

// A table maps the known addresses to their peers. It is never changed, only
// replaced, so that receivers need no lock.
type table map[netip.AddrPort]*source

// claims says who means an address to be his; guarded by Bind.mu.
type claims map[netip.AddrPort][]*source

// add notes that s's peer uses s's address.
func (c claims) add(s *source) { c[s.addr] = append(c[s.addr], s) }

// remove takes s back.
func (c claims) remove(s *source) {
	rest := c[s.addr][:0:0]
	for _, other := range c[s.addr] {
		if other != s {
			rest = append(rest, other)
		}
	}
	if len(rest) == 0 {
		delete(c, s.addr)
		return
	}
	c[s.addr] = rest
}

// after returns t with the addresses as they are claimed now. An address that
// two peers claim is nobody's: WireGuard tells their packets apart.
func (c claims) after(t table, addrs ...netip.AddrPort) table {
	t = maps.Clone(t)
	if t == nil {
		t = make(table)
	}
	for _, a := range addrs {
		if s := c[a]; len(s) == 1 {
			t[a] = s[0]
		} else {
			delete(t, a)
		}
	}
	return t
}
