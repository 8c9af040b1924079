package bind

import (
	"net/netip"

	"golang.zx2c4.com/wireguard/conn"
)

// ringAddrs bounds an origin's memory of addresses: more than one tunnel's, and
// a flood from many costs no more than the reading that it saves.
const ringAddrs = 1024

// An origin reads the addresses of what one receiver receives. A registered I/O
// endpoint gives its port away only as text or bytes of its own, so that what it
// said is kept by its value.
type origin struct {
	ring map[conn.WinRingEndpoint]netip.AddrPort
}

func (o *origin) addrPort(ep conn.Endpoint) netip.AddrPort {
	e, ok := ep.(*conn.WinRingEndpoint)
	if !ok {
		return addrPortOf(ep)
	}
	if addr, ok := o.ring[*e]; ok {
		return addr
	}
	if o.ring == nil || len(o.ring) >= ringAddrs {
		o.ring = make(map[conn.WinRingEndpoint]netip.AddrPort)
	}
	addr := addrPortOf(ep)
	o.ring[*e] = addr
	return addr
}
