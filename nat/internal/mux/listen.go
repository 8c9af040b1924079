package mux

import (
	"net"
	"net/netip"
)

// listenMost bounds the addresses of a host that are offered.
const listenMost = 16

// Addresses returns where the socket is reached on this host, as it is now. A
// socket bound to one address has that alone. Otherwise it is every address of
// an interface that is up, but loopback's, link-local ones, which mean nothing
// to the far end, and refused ones.
func (m *Mux) Addresses() []netip.AddrPort {
	if own := m.local.Addr(); !own.IsUnspecified() {
		if m.refused(own) {
			return nil
		}
		return []netip.AddrPort{m.local}
	}
	interfaces := m.cfg.Interfaces
	if interfaces == nil {
		interfaces = system
	}
	addrs, err := interfaces()
	if err != nil {
		return nil
	}
	var list []netip.AddrPort
	seen := make(map[netip.Addr]bool)
	for _, a := range addrs {
		a = a.Unmap().WithZone("")
		if len(list) == listenMost || seen[a] || !m.usable(a) {
			continue
		}
		seen[a] = true
		list = append(list, netip.AddrPortFrom(a, m.local.Port()))
	}
	return list
}

func (m *Mux) usable(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !m.refused(a) && (a.Is4() || m.local.Addr().Is6())
}

// system returns the addresses of all interfaces that are up.
func system() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var list []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // the interface went meanwhile
		}
		for _, a := range addrs {
			if p, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(p.IP); ok {
					list = append(list, ip)
				}
			}
		}
	}
	return list, nil
}

// GetListenAddresses is Addresses as pion wants them.
func (m *Mux) GetListenAddresses() []net.Addr {
	var list []net.Addr
	for _, a := range m.Addresses() {
		list = append(list, net.UDPAddrFromAddrPort(a))
	}
	return list
}
