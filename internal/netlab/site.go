package netlab

import (
	"fmt"
	"net/netip"
	"time"
)

// A Kind is a way in which a host may be connected to the internet. Where
// nothing else is said a host has only IPv4 and its router is a port-restricted
// NAT.
type Kind string

// The kinds. RFC 3489's names for NATs are those that people know; the mapping
// and filtering of RFC 4787 follow them.
const (
	Open              Kind = "open"               // a public address
	FullCone          Kind = "full cone"          // endpoint-independent mapping and filtering, random ports
	AddressRestricted Kind = "address-restricted" // endpoint-independent mapping, address-dependent filtering, random ports
	PortRestricted    Kind = "port-restricted"    // endpoint-independent mapping, address- and port-dependent filtering, ports preserved
	Symmetric         Kind = "symmetric"          // address- and port-dependent mapping and filtering, random ports
	DoubleNAT         Kind = "double NAT"         // a carrier's NAT behind a home's, both port-restricted, the carrier's with random ports
	UDPBlocked        Kind = "UDP blocked"        // no UDP gets out
	OnlyTCP443        Kind = "TCP 443 only"       // nothing but TCP to port 443 gets out
	OnlyProxy         Kind = "proxy only"         // nothing gets out but to port 443, by an HTTP proxy that wants Basic authentication
	OnlyIPv6          Kind = "IPv6 only"          // a public IPv6 address behind a stateful firewall, no IPv4 and no NAT64
	DualStack         Kind = "dual stack"         // port-restricted, and as IPv6 only
	SmallMTU          Kind = "small MTU"          // port-restricted, and packets past 1,280 bytes are lost in silence
)

// Matrix returns the kinds that docs/NAT.md pairs with each other.
func Matrix() []Kind {
	return []Kind{Open, FullCone, AddressRestricted, PortRestricted, DoubleNAT, Symmetric, UDPBlocked, OnlyTCP443, OnlyProxy, OnlyIPv6}
}

// nat is the NAT of a kind's outermost router.
func (k Kind) nat() NAT {
	switch k {
	case FullCone:
		return NAT{}
	case AddressRestricted:
		return NAT{Filtering: AddressDependent}
	case Symmetric:
		return NAT{Mapping: PortDependent, Filtering: PortDependent}
	case DoubleNAT:
		return NAT{Filtering: PortDependent}
	}
	return NAT{Filtering: PortDependent, Preserve: true}
}

// Networks of every site's outside.
const (
	public4 = "203.0.113.%d/24"
	public6 = "2001:db8::%x/64"
	// ProxyUser and ProxyPassword are what an OnlyProxy's proxy wants.
	ProxyUser, ProxyPassword = "shop", "pass word" // a space shows who forgets to escape
)

// SmallestMTU is what passes a SmallMTU site: the least of IPv6.
const SmallestMTU = 1280

// A Site is a host and the routers by which it reaches the internet.
type Site struct {
	Kind   Kind
	Host   *Host
	Router *Host       // the outermost, nil where the host is the outermost itself
	NAT    *Translator // of Router, nil where there is none
	Addr   netip.Addr  // the host's own; of a dual stack the IPv4 one
	Public netip.Addr  // what outsiders see of it
	Proxy  string      // host:port, where there is one

	lab *Lab
	lan *Link
	n   int
}

// A SiteConfig is what sites of one kind may differ in.
type SiteConfig struct {
	Timeout time.Duration // of NAT.Timeout
	Uplink  Emulation     // of the link between host and router; zero: a plain link. Not of an Open site
}

// Site adds a host that is connected to a switch in the given way. Each site of
// a lab has its own n, 1 to 99: its outer addresses are 203.0.113.(100+n) and
// 2001:db8::(100+n, as hexadecimal), which others on the switch reach with a
// prefix of 24 and 64 bits.
func (l *Lab) Site(name string, kind Kind, internet *Host, n int, cfg SiteConfig) *Site {
	l.t.Helper()
	s := &Site{Kind: kind, Host: l.Host(name), lab: l, n: n}
	if kind == Open {
		wan := l.Link(s.Host, fmt.Sprintf(public4, 100+n), internet, "")
		s.Addr, s.Public = wan.A.Addr, wan.A.Addr
		return s
	}
	s.Router = l.Router(name + "-router")
	var wan *Link
	if kind == OnlyIPv6 {
		wan = l.Link(s.Router, fmt.Sprintf(public6, 100+n), internet, "")
	} else {
		wan = l.Link(s.Router, fmt.Sprintf(public4, 100+n), internet, "")
		nat := kind.nat()
		nat.Timeout = cfg.Timeout
		s.NAT = s.Router.Translate(wan.A, nat)
	}
	s.Public = wan.A.Addr
	inner := s.Router
	if kind == DoubleNAT {
		inner = l.Router(name + "-home")
		carrier := l.Link(inner, fmt.Sprintf("100.64.%d.2/24", n), s.Router, fmt.Sprintf("100.64.%d.1/24", n))
		inner.Route("default", carrier.B.Addr)
		inner.Translate(carrier.A, NAT{Filtering: PortDependent, Preserve: true, Timeout: cfg.Timeout})
	}
	s.connect(inner, cfg.Uplink)
	if kind == DualStack {
		wan.A.Add(fmt.Sprintf(public6, 100+n))
	}
	s.restrict(wan.A)
	return s
}

// connect joins the host to its router.
func (s *Site) connect(router *Host, uplink Emulation) {
	s.lab.t.Helper()
	near, far := fmt.Sprintf("192.168.%d.2/24", s.n), fmt.Sprintf("192.168.%d.1/24", s.n)
	near6, far6 := fmt.Sprintf("2001:db8:%x::2/64", s.n), fmt.Sprintf("2001:db8:%x::1/64", s.n)
	if s.Kind == OnlyIPv6 {
		near, far = near6, far6
	}
	if s.Kind == SmallMTU {
		uplink.MTU = SmallestMTU
	}
	if uplink == (Emulation{}) {
		s.lan = s.lab.Link(s.Host, near, router, far)
	} else {
		s.lan = s.lab.Emulate(s.Host, near, router, far, uplink)
	}
	s.Addr = s.lan.A.Addr
	if s.Kind == OnlyIPv6 {
		s.Public = s.Addr
	}
	s.Host.Route("default", s.lan.B.Addr)
	if s.Kind == DualStack {
		s.lan.A.Add(near6)
		s.lan.B.Add(far6)
		s.Host.Route("default", netip.MustParsePrefix(far6).Addr())
	}
}

// restrict makes the router refuse what the kind does not let out.
func (s *Site) restrict(wan *Interface) {
	s.lab.t.Helper()
	from := fmt.Sprintf("iifname %q ", s.lan.B.Name)
	switch s.Kind {
	case UDPBlocked:
		s.Router.Refuse("meta l4proto udp")
	case OnlyTCP443:
		s.Router.Refuse(from + "meta l4proto != tcp drop; " + from + "tcp dport != 443")
	case OnlyProxy:
		s.Router.Refuse("meta nfproto { ipv4, ipv6 }")
		s.Proxy = s.Router.proxy(s.lan.B.Addr, ProxyUser, ProxyPassword)
	case OnlyIPv6:
		s.Router.firewall(wan)
	}
}

// Others6 makes a host that has an IPv6 address on the switch of the sites reach
// the networks of those that have one.
func (s *Site) Others6(h *Host) {
	s.lab.t.Helper()
	if s.Kind == OnlyIPv6 || s.Kind == DualStack {
		h.Route(fmt.Sprintf("2001:db8:%x::/64", s.n), netip.MustParsePrefix(fmt.Sprintf(public6, 100+s.n)).Addr())
	}
}

// Swap gives the host another uplink, as a change from cable to mobile network
// does: another interface with another address and gateway, and then the old
// one goes down. The outer address stays, the outer ports do not.
func (s *Site) Swap() {
	s.lab.t.Helper()
	if s.lan == nil || s.lan.A.Addr.Is6() {
		s.lab.t.Fatalf("netlab: %s: no uplink to swap", s.Host.Name)
	}
	s.n += 100
	old := s.lan
	s.lan = s.lab.Link(s.Host, fmt.Sprintf("192.168.%d.2/24", s.n), old.B.host, fmt.Sprintf("192.168.%d.1/24", s.n))
	s.Addr = s.lan.A.Addr
	s.Host.Route("default", s.lan.B.Addr)
	old.Down()
}

// firewall refuses what comes in by a link unasked.
func (h *Host) firewall(out *Interface) {
	h.lab.t.Helper()
	h.note = "firewall " + out.Name
	h.NFT(fmt.Sprintf(`
table inet filter {
	chain forward {
		type filter hook forward priority filter;
		iifname %[1]q ct state established,related accept
		iifname %[1]q meta l4proto icmpv6 accept
		iifname %[1]q drop
	}
}`, out.Name))
}
