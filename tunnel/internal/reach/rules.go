package reach

import (
	"net/netip"
	"slices"

	"github.com/boothwire/boothwire/internal/packet"
)

// A Port is one port that may be reached. Proto is packet.TCP or packet.UDP.
type Port struct {
	Proto  uint8
	Number uint16
}

// A Peer is an address at the far side and, at a device, the ports that it may
// reach.
type Peer struct {
	Addr  netip.Addr
	Ports []Port
}

// Rules say who may talk to whom. The zero Rules let nothing through.
type Rules struct {
	Own    []netip.Addr // the tunnel's own addresses
	Peers  []Peer       // who may be talked to; their echo requests are answered
	Proofs []netip.Addr // addresses that are echoed, and may echo

	// Outbound is the direction in which connections may begin: false, at a
	// device, from the peers to the ports that each may reach; true, at an
	// operator, from own to every port of the peers.
	Outbound bool

	// Renew has a device take what its peers send to RenewPort, instead of judging
	// it as any other packet.
	Renew bool
}

func (r *Rules) clone() Rules {
	c := *r
	c.Own = slices.Clone(r.Own)
	c.Proofs = slices.Clone(r.Proofs)
	c.Peers = slices.Clone(r.Peers)
	for i := range c.Peers {
		c.Peers[i].Ports = slices.Clone(c.Peers[i].Ports)
	}
	return c
}

func (r *Rules) own(a netip.Addr) bool { return slices.Contains(r.Own, a) }

func (r *Rules) proof(a netip.Addr) bool { return slices.Contains(r.Proofs, a) }

// peer returns the peer with address a, nil when there is none. There are a
// handful of them.
func (r *Rules) peer(a netip.Addr) *Peer {
	for i := range r.Peers {
		if r.Peers[i].Addr == a {
			return &r.Peers[i]
		}
	}
	return nil
}

func (p *Peer) reaches(proto uint8, number uint16) bool {
	return slices.Contains(p.Ports, Port{proto, number})
}

// begins reports whether the rules let the packet's sender begin a flow with it.
// in says that it comes from WireGuard.
func (r *Rules) begins(p *packet.Info, in bool) bool {
	if in == r.Outbound {
		return false
	}
	if !in {
		return p.Proto == packet.TCP || p.Proto == packet.UDP || p.IsEchoRequest()
	}
	peer := r.peer(p.Src)
	return peer != nil && peer.reaches(p.Proto, p.DstPort)
}

// Reaches reports whether a peer may begin a flow to the port.
func (r *Rules) Reaches(a netip.Addr, proto uint8, number uint16) bool {
	peer := r.peer(a)
	return !r.Outbound && peer != nil && peer.reaches(proto, number)
}
