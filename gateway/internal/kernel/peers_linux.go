package kernel

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// perCall is how many peers wgctrl puts into one message; beyond it, it sends one
// message for each peer, which takes several times as long.
const perCall = 32

// peers writes the peers of one interface, and knows which there are. It is the only
// writer of that interface, which makes what it knows true: a dump may come back
// short without an error while another changes peers.
type peers struct {
	wg   *wgctrl.Client
	name string // of the interface
	have map[wgtypes.Key][]netip.Addr

	// What a former process left, until keep.
	met  map[wgtypes.Key]bool       // those that shook hands
	held map[netip.Addr]wgtypes.Key // whose an address was
}

// learn reads the peers that a former process left.
func (p *peers) learn() error {
	d, err := p.wg.Device(p.name)
	if err != nil {
		return fmt.Errorf("kernel: peers of %s: %w", p.name, err)
	}
	p.have = make(map[wgtypes.Key][]netip.Addr, len(d.Peers))
	p.met, p.held = make(map[wgtypes.Key]bool), make(map[netip.Addr]wgtypes.Key)
	for _, peer := range d.Peers {
		list := []netip.Addr{}
		for _, n := range peer.AllowedIPs {
			if a, ok := netip.AddrFromSlice(n.IP); ok {
				list = append(list, a.Unmap())
				p.held[a.Unmap()] = peer.PublicKey
			}
		}
		p.have[peer.PublicKey] = list
		p.met[peer.PublicKey] = peer.LastHandshakeTime.Unix() > 0
	}
	return nil
}

// change is what is to be done to the peers of one interface.
type change struct {
	removed []wgtypes.Key
	set     []peer
}

type peer struct {
	key       wgtypes.Key
	addresses []netip.Addr
}

func (c *change) remove(key [32]byte) { c.removed = append(c.removed, key) }

func (c *change) add(key [32]byte, addresses ...netip.Addr) {
	c.set = append(c.set, peer{key, addresses})
}

// apply makes the change: removals first, so that addresses are free when others
// take them. A peer that is as it should be is left alone. It names no endpoint and
// no keepalive: peers come to the node.
func (p *peers) apply(c *change) error {
	var list []wgtypes.PeerConfig
	for _, key := range c.removed {
		if _, ok := p.have[key]; ok {
			list = append(list, wgtypes.PeerConfig{PublicKey: key, Remove: true})
		}
	}
	for _, n := range c.set {
		if have, ok := p.have[n.key]; ok && sameAddresses(have, n.addresses) && !slices.Contains(c.removed, n.key) {
			continue
		}
		list = append(list, wgtypes.PeerConfig{PublicKey: n.key, ReplaceAllowedIPs: true, AllowedIPs: hosts(n.addresses)})
	}
	for part := range slices.Chunk(list, perCall) {
		if err := p.wg.ConfigureDevice(p.name, wgtypes.Config{Peers: part}); err != nil {
			return fmt.Errorf("kernel: peers of %s: %w", p.name, err)
		}
		for _, peer := range part {
			if peer.Remove {
				delete(p.have, peer.PublicKey)
			}
		}
	}
	for _, n := range c.set {
		p.have[n.key] = slices.Clone(n.addresses)
	}
	return nil
}

// keep removes every peer but those in keys.
func (p *peers) keep(keys map[wgtypes.Key]bool) error {
	p.met, p.held = nil, nil
	var c change
	for key := range p.have {
		if !keys[key] {
			c.remove(key)
		}
	}
	return p.apply(&c)
}

func sameAddresses(a, b []netip.Addr) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}

// hosts are addresses as WireGuard takes them.
func hosts(list []netip.Addr) []net.IPNet {
	out := make([]net.IPNet, 0, len(list))
	for _, a := range list {
		out = append(out, net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())})
	}
	return out
}
