package bind

import (
	"encoding/binary"
	"net/netip"

	"golang.zx2c4.com/wireguard/conn"
)

// An endpoint is what WireGuard holds of a peer, whatever path its packets take.
type endpoint struct {
	peer *Peer
	name netip.AddrPort // unique among the peers of its Bind
}

var _ conn.Endpoint = (*endpoint)(nil)

// newEndpoint names the nth peer by an address that leads nowhere (RFC 6666).
func newEndpoint(p *Peer, n uint64) *endpoint {
	a := [16]byte{0: 0x01}
	binary.BigEndian.PutUint64(a[8:], n)
	return &endpoint{peer: p, name: netip.AddrPortFrom(netip.AddrFrom16(a), 1)}
}

// DstIP is what WireGuard limits handshakes by: the same on every path, so that
// one peer's budget is its own.
func (e *endpoint) DstIP() netip.Addr { return e.name.Addr() }

// DstToBytes is what WireGuard binds cookies to: the same on every path, so that
// a cookie survives a change of path.
func (e *endpoint) DstToBytes() []byte {
	b, _ := e.name.MarshalBinary()
	return b
}

// DstToString is what WireGuard shows as the peer's endpoint.
func (e *endpoint) DstToString() string {
	if addr := e.peer.Path(); addr.IsValid() {
		return addr.String()
	}
	return e.name.String()
}

// ClearSrc does nothing: a path's endpoints have no source of their own, the
// host's routes choose it.
func (e *endpoint) ClearSrc()           {}
func (e *endpoint) SrcToString() string { return "" }
func (e *endpoint) SrcIP() netip.Addr   { return netip.Addr{} }
