package nat

import "slices"

// A NAT is the customary name of what a Report says, in one word for people: the
// finer truth is in the Report.
type NAT string

// The names of NATs, the friendliest first, and of what is none.
const (
	NATUnknown    NAT = ""                   // nothing was asked that tells
	NoNAT         NAT = "open"               // a public address that anyone can send to
	Firewalled    NAT = "firewall"           // a public address, answers only or not known
	FullCone      NAT = "full-cone"          // one mapping, anyone is let in
	RestrictedIP  NAT = "address-restricted" // one mapping, addresses that were sent to are let in
	Restricted    NAT = "port-restricted"    // one mapping, ports that were sent to are let in
	Cone          NAT = "cone"               // one mapping, the filter is not known
	SymmetricNAT  NAT = "symmetric"          // a mapping for each destination
	SomeNAT       NAT = "nat"                // how it maps is not known
	IPv6Only      NAT = "ipv6-only"          // no IPv4
	UDPBlockedNAT NAT = "udp-blocked"        // no server answered
)

func nats() []NAT {
	return []NAT{NoNAT, Firewalled, FullCone, RestrictedIP, Restricted, Cone, SymmetricNAT, SomeNAT, IPv6Only, UDPBlockedNAT}
}

// ParseNAT returns the NAT of that name, and NATUnknown for any other text: it may be
// a far end's.
func ParseNAT(text string) NAT {
	if n := NAT(text); slices.Contains(nats(), n) {
		return n
	}
	return NATUnknown
}

// String is the name, "unknown" for NATUnknown.
func (n NAT) String() string {
	if n == NATUnknown {
		return "unknown"
	}
	return string(n)
}

// NAT returns the name of what r says of IPv4, or of what there is in its place.
func (r Report) NAT() NAT {
	f := r.IPv4
	switch {
	case f.Works == Yes:
	case r.IPv6.Works == Yes:
		return IPv6Only
	case r.UDPBlocked == Yes:
		return UDPBlockedNAT
	default:
		return NATUnknown
	}
	switch f.Mapping {
	case Open:
		if f.Filtering == Open {
			return NoNAT
		}
		return Firewalled
	case AddressDependent, AddressAndPortDependent:
		return SymmetricNAT
	case EndpointIndependent:
		switch f.Filtering {
		case EndpointIndependent, Open:
			return FullCone
		case AddressDependent:
			return RestrictedIP
		case AddressAndPortDependent:
			return Restricted
		}
		return Cone
	}
	if f.NAT == Yes {
		return SomeNAT
	}
	return NATUnknown
}
