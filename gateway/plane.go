package gateway

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/gateway/internal/userspace"
	"github.com/boothwire/boothwire/keys"
)

// plane is what a node asks of a data plane. Every one of them passes the same
// tests; all calls are safe for concurrent use.
type plane interface {
	// Set installs a session or changes it in place; from its return nothing
	// passes that the session does not allow. A new device key takes over once it
	// proved itself, or after 60 s.
	Set(s reach.Session) error
	// Remove ends a session at once and returns its last counters.
	Remove(session string) reach.Counters
	Counters(session string) reach.Counters
	// Settle says that every session that a former process left and that goes on
	// was Set again: all else of that process goes. It is called once, before any
	// Remove; until then nothing that was left may be disturbed.
	Settle() error
	// SetPool changes what range tunnel addresses are of, and which of them is the
	// node's own. Sessions in force keep theirs.
	SetPool(pool netip.Prefix, proof netip.Addr)
	// Ports are the UDP ports for devices and for operators; they may be one.
	Ports() (devices, operators uint16, err error)
	Drops() map[string]uint64
	Passed() (forwarded, echoes uint64)
	// Leave closes the plane as a kill would: what a former process left, and what can
	// go on without this one, does.
	Leave() error
	// Close ends every session.
	Close() error
}

var _ plane = (*userspace.Plane)(nil)

// opener opens a plane on a port; tests put their own in its place.
type opener func(n *Node, key keys.PrivateKey, listen uint16) (plane, error)

func openPlane(n *Node, key keys.PrivateKey, listen uint16) (plane, error) {
	raw, err := exposed(key)
	if err != nil {
		return nil, err
	}
	switch n.cfg.Plane {
	case Auto, Userspace:
		return openUserspace(n, raw, listen)
	case Kernel:
		return openKernel(n, raw, listen)
	}
	return nil, fmt.Errorf("gateway: data plane %q: %w", n.cfg.Plane, errors.ErrUnsupported)
}

func openUserspace(n *Node, key [32]byte, listen uint16) (plane, error) {
	p, err := userspace.Open(userspace.Config{
		PrivateKey: key,
		Listen:     listen,
		Proof:      n.cfg.Proof,
		Uplink:     int64(n.cfg.Uplink),
		MTU:        n.cfg.MTU,
		Handshake:  func(session string) { n.seen.add(KindHandshake, session) },
		Proved:     func(session string) { n.seen.add(KindProved, session) },
		Logger:     n.cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}
