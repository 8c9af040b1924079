package preflight

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/boothwire/boothwire/internal/lenienttls"
)

// host is what the checks ask of a system: tests have their own.
type host struct {
	now      func() time.Time
	made     func() time.Time // when the program was
	dial     func(ctx context.Context, address string) error
	own      func() netip.Addr              // one that others reach this host by; zero: none
	networks func() ([]netip.Prefix, error) // of interfaces and routes, without tunnels of ours
	adapter  func() (code string)           // why no interface can be made; empty: one can
	rdp      func() (rdpFacts, error)
	firewall func() ([]profile, error)
}

// here is this machine.
var here = host{now: time.Now, made: lenienttls.Built, dial: dial, own: own, networks: networks, adapter: adapter, rdp: rdp, firewall: profiles}

// ownName reports whether an interface is a tunnel of ours: bw0, bw1, ...
func ownName(name string) bool {
	return len(name) > 2 && name[:2] == "bw" && name[2] >= '0' && name[2] <= '9'
}

// interfaces are the networks of this host's interfaces.
func interfaces() (list []netip.Prefix, err error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if ownName(i.Name) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went meanwhile
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				list = append(list, p)
			}
		}
	}
	return list, nil
}

// own is the first address that is neither this machine's alone nor its link's.
func own() netip.Addr {
	list, _ := interfaces()
	for _, p := range list {
		if a := p.Addr(); a.Is4() && a.IsGlobalUnicast() {
			return a
		}
	}
	return netip.Addr{}
}
