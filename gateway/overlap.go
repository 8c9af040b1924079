package gateway

import (
	"net"
	"net/netip"
	"slices"
)

// overlaps returns what of this host's own addresses and routes lies in pool.
// Userspace, where no packet of a tunnel enters the host's stack, lives with it;
// but whoever runs an operator's tool with a system adapter on this host would
// not, so it is worth a warning.
func overlaps(pool netip.Prefix) []netip.Prefix {
	var found []netip.Prefix
	for _, p := range append(hostPrefixes(), hostRoutes()...) {
		if p.Bits() > 0 && p.Overlaps(pool) && !slices.Contains(found, p) {
			found = append(found, p)
		}
	}
	return found
}

// hostPrefixes are the host's addresses with their network's length.
func hostPrefixes() []netip.Prefix {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var found []netip.Prefix
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			found = append(found, p)
		}
	}
	return found
}

// hostEndpoints are the addresses at which others may reach this host, as far as
// it can know: those of its interfaces, or loopback if it has no others.
func hostEndpoints(pool netip.Prefix, port uint16) []netip.AddrPort {
	var found []netip.AddrPort
	for _, p := range hostPrefixes() {
		if a := p.Addr(); a.IsGlobalUnicast() && !pool.Contains(a) {
			found = append(found, netip.AddrPortFrom(a, port))
		}
	}
	if found == nil {
		found = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)}
	}
	return found
}
