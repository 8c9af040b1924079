package nat

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// Types of candidates (RFC 8445, section 5.1.1).
const (
	Host            = "host"  // an address of the host itself
	ServerReflexive = "srflx" // what a STUN server saw
	PeerReflexive   = "prflx" // what only the far end saw
	Relayed         = "relay" // at a TURN server
)

// A Candidate is one address of an end. Candidates compare with ==.
type Candidate struct {
	Type string // Host, ServerReflexive, PeerReflexive or Relayed
	Addr netip.AddrPort
}

// String is the type, a space and the address.
func (c Candidate) String() string { return c.Type + " " + c.Addr.String() }

var errCandidate = errors.New("not a candidate")

// parseCandidate is String's inverse, for the types that are offered.
func parseCandidate(text string) (Candidate, error) {
	kind, addr, ok := strings.Cut(text, " ")
	if !ok || kind != Host && kind != ServerReflexive && kind != Relayed {
		return Candidate{}, errCandidate
	}
	a, err := netip.ParseAddrPort(addr)
	if err != nil || a.String() != addr || a.Port() == 0 || a.Addr().Zone() != "" || a.Addr().Is4In6() {
		return Candidate{}, errCandidate
	}
	return Candidate{kind, a}, nil
}

// nobodys are addresses of no host (RFC 6890), and IPv4 in IPv6 (RFC 6052), which would
// get around what is said of IPv4; its host names itself by IPv4.
var nobodys = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
}

// worth reports whether a check may be sent to c: not to what the tunnel itself
// carries, not to a group, not to an address that means something else here than
// at the far end. Loopback is for ends that are bound to it.
func (c Candidate) worth(refuse []netip.Prefix, loopback bool) bool {
	a := c.Addr.Addr()
	in := func(p netip.Prefix) bool { return p.Contains(a) }
	if slices.ContainsFunc(refuse, in) || slices.ContainsFunc(nobodys, in) {
		return false
	}
	return a.IsGlobalUnicast() || loopback && a.IsLoopback()
}

// A Pair is what a path runs between: each end as the other one sees it.
type Pair struct{ Local, Remote Candidate }

// String is both types, e.g. "srflx-prflx".
func (p Pair) String() string { return p.Local.Type + "-" + p.Remote.Type }
