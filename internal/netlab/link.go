package netlab

import (
	"fmt"
	"net/netip"
	"time"
)

// An Interface is one end of a link.
type Interface struct {
	Name string
	Addr netip.Addr // invalid: none, as on a switch's port
	host *Host
	nets []netip.Prefix
}

// A Link joins two interfaces.
type Link struct {
	A, B *Interface
	emu  *emulator
}

// Emulation is what an emulated link does to each direction of its traffic; the
// zero value changes nothing.
type Emulation struct {
	Delay time.Duration // one way
	Loss  float64       // share of packets lost, 0 to 1
	Rate  int64         // bit/s, 0 unlimited
	Queue int           // bytes waiting for the rate before packets drop, 0: 100 ms worth
	MTU   int           // bytes of an IP packet, 0: 1500; larger ones are dropped in silence
}

// Link joins two hosts by a veth pair. Each address is a prefix such as
// "192.0.2.1/24", or "" for none; a switch's end becomes a port of its bridge.
func (l *Lab) Link(a *Host, addrA string, b *Host, addrB string) *Link {
	l.t.Helper()
	ia, ib := a.nextInterface(), b.nextInterface()
	l.run("ip", "link", "add", ia.Name, "netns", a.ns, "type", "veth", "peer", "name", ib.Name, "netns", b.ns)
	l.address(ia, addrA)
	l.address(ib, addrB)
	return l.keep(&Link{A: ia, B: ib})
}

// Emulate joins two hosts by a link whose delay, loss, rate and MTU can be set
// and changed: two TUN devices with a forwarder between them in this process,
// because not every kernel has netem. Neither end may be a switch.
func (l *Lab) Emulate(a *Host, addrA string, b *Host, addrB string, e Emulation) *Link {
	l.t.Helper()
	ia, ib := a.nextInterface(), b.nextInterface()
	emu, err := newEmulator(ia, ib, e)
	if err != nil {
		l.t.Fatal(err)
	}
	l.address(ia, addrA)
	l.address(ib, addrB)
	return l.keep(&Link{A: ia, B: ib, emu: emu})
}

func (l *Lab) keep(k *Link) *Link {
	l.links = append(l.links, k)
	return k
}

func (l *Lab) address(i *Interface, prefix string) {
	l.t.Helper()
	h := i.host
	if h.kind == "switch" {
		l.run(h.inside("ip", "link", "set", i.Name, "master", "br0")...)
	}
	l.run(h.inside("ip", "link", "set", i.Name, "up")...)
	if prefix == "" {
		return
	}
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		l.t.Fatalf("netlab: %s: %v", h.Name, err)
	}
	i.Addr = p.Addr()
	i.Add(prefix)
}

// Add gives the interface a further address, and a route to its network. Addr
// stays as it is.
func (i *Interface) Add(prefix string) {
	l := i.host.lab
	l.t.Helper()
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		l.t.Fatalf("netlab: %s: %v", i.host.Name, err)
	}
	i.nets = append(i.nets, p.Masked())
	add := i.host.inside("ip", "addr", "add", prefix, "dev", i.Name, "noprefixroute")
	if p.Addr().Is6() {
		add = append(add, "nodad") // it can be bound to at once
	}
	l.run(add...)
	i.route(p.Masked())
}

func (i *Interface) route(network netip.Prefix) {
	i.host.lab.t.Helper()
	i.host.lab.run(i.host.inside("ip", "route", "replace", network.String(), "dev", i.Name, "congctl", congestion)...)
}

func (h *Host) nextInterface() *Interface {
	h.ifs++
	return &Interface{Name: fmt.Sprintf("net%d", h.ifs-1), host: h}
}

// Set changes an emulated link while it runs.
func (k *Link) Set(e Emulation) {
	if k.emu == nil {
		panic("netlab: Set on a plain link")
	}
	k.emu.set(e)
}

// Down takes both ends down, as a pulled cable would; Up brings them back.
// Routes through the link are lost with it, as they are on a real host: add
// them again with Host.Route.
func (k *Link) Down() { k.state("down") }

// Up is Down's counterpart; it restores the routes to the link's own networks.
func (k *Link) Up() {
	k.state("up")
	for _, i := range []*Interface{k.A, k.B} {
		for _, n := range i.nets {
			i.route(n)
		}
	}
}

func (k *Link) state(s string) {
	for _, i := range []*Interface{k.A, k.B} {
		i.host.lab.run(i.host.inside("ip", "link", "set", i.Name, s)...)
	}
}

func (k *Link) close() {
	if k.emu != nil {
		k.emu.close()
	}
}
