package find

import (
	"errors"
	"fmt"
	"strings"

	"github.com/boothwire/boothwire/nat"
)

// A Conn is a direct path that says between what it runs, e.g. "srflx-host
// port-restricted/open": the types of both ends' candidates, and what their networks
// are, this end's first. The latter may be known only some seconds after the path.
type Conn struct {
	*nat.Conn
	network *Network
}

// Conn is a path that was found.
func (f *Finder) Conn(c *nat.Conn) *Conn { return &Conn{c, f.network} }

// Why is that text. The far end's word counts only if it is a name that we know.
func (c *Conn) Why() string {
	return whyFound(c.Pair(), c.network.NAT(), nat.ParseNAT(c.FarReport()))
}

func whyFound(p nat.Pair, here, there nat.NAT) string {
	if here == nat.NATUnknown && there == nat.NATUnknown {
		return p.String()
	}
	return fmt.Sprintf("%s %s/%s", p, here, there)
}

// A Failure is that no direct path was found, and what is known of it.
type Failure struct {
	err   *nat.Error
	why   string
	waits bool
}

// Failed adds to an error of package nat what the networks are and what was tried.
// waits says that the far end makes the attempts.
func (f *Finder) Failed(err error, waits bool) error {
	e, ok := errors.AsType[*nat.Error](err)
	if !ok || !errors.Is(e, nat.ErrNoPath) {
		return err
	}
	f.network.failed()
	return &Failure{e, whyFailed(e, f.network.NAT(), nat.ParseNAT(e.Far)), waits}
}

func (f *Failure) Error() string { return f.err.Error() }

// Unwrap returns the error of package nat, which has the code.
func (f *Failure) Unwrap() error { return f.err }

// Why is e.g. "port-restricted here, symmetric there; tried 2 host 1 srflx x 1 host".
func (f *Failure) Why() string { return f.why }

// Waits reports whether the next attempt is the far end's to begin.
func (f *Failure) Waits() bool { return f.waits }

func whyFailed(e *nat.Error, here, there nat.NAT) string {
	var parts []string
	if here != nat.NATUnknown || there != nat.NATUnknown {
		parts = append(parts, fmt.Sprintf("%s here, %s there", here, there))
	}
	if e.Reason == nat.ReasonUnanswered {
		parts = append(parts, "offered "+tally(e.Local))
	} else {
		parts = append(parts, "tried "+tally(e.Local)+" x "+tally(e.Remote))
	}
	return strings.Join(parts, "; ")
}

// tally is how many candidates there are of each type.
func tally(list []nat.Candidate) string {
	var words []string
	for _, kind := range []string{nat.Host, nat.ServerReflexive, nat.PeerReflexive, nat.Relayed} {
		n := 0
		for _, c := range list {
			if c.Type == kind {
				n++
			}
		}
		if n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, kind))
		}
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, " ")
}
