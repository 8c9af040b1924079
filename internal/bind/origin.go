package bind

import (
	"net/netip"

	"golang.zx2c4.com/wireguard/conn"
)

// addrPortOf reads the address of an inner Bind's endpoint. It allocates unless
// the endpoint is one of the standard sockets'.
func addrPortOf(ep conn.Endpoint) netip.AddrPort {
	if e, ok := ep.(*conn.StdNetEndpoint); ok {
		return e.AddrPort
	}
	addr, _ := netip.ParseAddrPort(ep.DstToString())
	return addr
}
