package nat

// The behaviours that are no pair of classes.
const (
	behaviourTranslated = "translated"  // there is a NAT, and how it maps is not known
	behaviourIPv6Only   = "ipv6_only"   // no IPv4
	behaviourBlocked    = "udp_blocked" // no server answered
)

// Behaviour is what r says of IPv4, or of what there is in its place, in the terms of
// RFC 4787: the mapping and the filtering, each by the name of its Class, such as
// "endpoint_independent/address_dependent"; or "translated", "ipv6_only" or
// "udp_blocked". It is empty where nothing was asked that tells, and has at most 64
// bytes.
func (r Report) Behaviour() string {
	f := r.IPv4
	switch {
	case f.Works == Yes && f.Mapping != Unknown:
		return f.Mapping.String() + "/" + f.Filtering.String()
	case f.Works == Yes && f.NAT == Yes:
		return behaviourTranslated
	case f.Works == Yes:
		return ""
	case r.IPv6.Works == Yes:
		return behaviourIPv6Only
	case r.UDPBlocked == Yes:
		return behaviourBlocked
	}
	return ""
}

// Behaviours are all that Behaviour returns but the empty one.
func Behaviours() []string {
	all := []string{behaviourTranslated, behaviourIPv6Only, behaviourBlocked}
	for mapping := Open; mapping <= AddressAndPortDependent; mapping++ {
		for filtering := Unknown; filtering <= AddressAndPortDependent; filtering++ {
			all = append(all, mapping.String()+"/"+filtering.String())
		}
	}
	return all
}
