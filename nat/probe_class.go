package nat

import (
	"net/netip"
)

// A sighting is how one address of a server saw the socket.
type sighting struct{ to, mapped netip.AddrPort }

// see fills in what sightings tell, at least one. local tells the socket's own
// address towards a server, or an invalid one.
func (f *Family) see(local func(to netip.AddrPort) netip.AddrPort, all []sighting) {
	f.Local, f.Public = local(all[0].to), all[0].mapped
	var beyond []sighting // a server on this side of the NAT tells nothing about it
	for _, s := range all {
		if l := local(s.to); !l.IsValid() || l != s.mapped {
			beyond = append(beyond, s)
		}
	}
	switch {
	case len(beyond) == 0:
		f.NAT, f.Mapping = No, Open
		if f.Filtering == EndpointIndependent {
			f.Filtering = Open
		}
		return
	case f.Local.IsValid():
		f.Local, f.Public = local(beyond[0].to), beyond[0].mapped
		f.NAT, f.Kept = Yes, factOf(f.Local.Port() == f.Public.Port())
	}
	f.Mapping = mappingOf(beyond)
}

// mappingOf compares all pairs of sightings (RFC 5780, section 4.3, for any servers).
func mappingOf(all []sighting) Class {
	class := Unknown
	for i, a := range all {
		for _, b := range all[:i] {
			same := a.mapped == b.mapped
			switch {
			case a.to == b.to:
			case a.to.Addr() == b.to.Addr():
				if !same {
					return AddressAndPortDependent
				}
			case !same:
				class = AddressDependent
			case class == Unknown:
				class = EndpointIndependent
			}
		}
	}
	return class
}

// A verdict is what became of one request for an answer from elsewhere.
type verdict uint8

const (
	untold verdict = iota // the server does not do it, or it was not asked
	letIn                 // its answer came
	kept                  // no answer came
)

// A filterTest is RFC 5780, section 4.4: answers from another address and port, and
// from another port of an address that had been sent to.
type filterTest struct {
	both, port verdict
	reachable  bool // that address and that port can be heard, each for itself
	spoiled    bool // that address had been sent to before both
	known      bool // even that port of it
}

// class fails to tell rather than to guess: a silence only counts if nothing else
// explains it, an answer only if nothing had opened the filter for it.
func (t filterTest) class() Class {
	switch {
	case t.both == letIn && !t.spoiled:
		return EndpointIndependent
	case t.known || !t.reachable || t.both != kept && !t.spoiled:
		return Unknown
	case t.port == kept:
		return AddressAndPortDependent
	case t.port == letIn && t.both == kept:
		return AddressDependent
	}
	return Unknown
}
