package keys

import (
	"crypto/sha256"
	"slices"
	"time"
)

// maxOpen bounds the sessions that were accepted and not ended. Signalling
// opens one at a time; this bounds what a host that never calls End keeps.
const maxOpen = 16

// open is a session that was accepted and not ended.
type open struct {
	rev     int
	content [32]byte // SHA-256 of the payload of that rev
	prekey  PublicKey
	key     PrivateKey
	former  PrivateKey // of before the last rekey: a tunnel may still be on it

	node     bool          // its far end is a node, not an operator's tool
	lifetime time.Duration // in force, by its grant or a renewal
}

// Accept is the only door: it checks a grant's signature, signer, deployment,
// kind, device, boot and one-time key and the host's limits, and yields the
// grant, with Lifetime at most Trust.Longest, and the private half of its
// prekey. It does not look at the wall clock.
//
// A prekey belongs to the first session that uses it. The same grant again
// gets the same answer. A higher rev of the same session may keep the prekey,
// or name a fresh one. Anything else that names a used prekey is refused, and
// so is a rev below the highest, and every rev after End. The caller may keep
// the key until End, which erases it; a rekey erases the key of the rekey
// before. Errors are *GrantError, and a refused grant changes nothing.
func (d *Device) Accept(grant []byte) (*Grant, PrivateKey, error) {
	payload, err := d.Verify(TypeGrant, grant)
	if err != nil {
		return nil, PrivateKey{}, err
	}
	g, err := decodeGrant(payload)
	if err != nil {
		return nil, PrivateKey{}, err
	}
	if err := d.trust.allows(g); err != nil {
		return nil, PrivateKey{}, err
	}
	if d.trust.Longest > 0 {
		g.Lifetime = min(g.Lifetime, d.trust.Longest)
	}
	key, err := d.admit(g, sha256.Sum256(payload))
	if err != nil {
		return nil, PrivateKey{}, err
	}
	return g, key, nil
}

// allows applies the host's limits.
func (t *Trust) allows(g *Grant) error {
	if len(t.Nodes) > 0 && !slices.Contains(t.Nodes, g.Far.Node) {
		return refuse(ReasonNodeNotAllowed, "the host does not allow this far end")
	}
	if len(t.Ports) == 0 {
		return nil
	}
	for _, o := range g.Operators {
		for _, p := range o.Ports {
			if !slices.Contains(t.Ports, p) {
				return refuse(ReasonPortNotAllowed, "the host does not allow %v", p)
			}
		}
	}
	return nil
}

// admit spends g's prekey, or finds the session that has.
func (d *Device) admit(g *Grant, content [32]byte) (PrivateKey, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed.has(g.Session) {
		return PrivateKey{}, refuse(ReasonClosed, "its session is over")
	}
	s := d.sessions[g.Session]
	switch {
	case s != nil && g.Rev == s.rev && content == s.content:
		return s.key, nil
	case s != nil && g.Rev <= s.rev:
		return PrivateKey{}, refuse(ReasonReplayed, "rev %d after rev %d", g.Rev, s.rev)
	case g.Boot != "" && g.Boot != d.boot:
		return PrivateKey{}, refuse(ReasonWrongBoot, "for another boot")
	case s != nil && g.Prekey == s.prekey:
		s.say(g, content)
		return s.key, nil
	case s == nil && len(d.sessions) >= maxOpen:
		return PrivateKey{}, refuse(ReasonBusy, "%d sessions are open", maxOpen)
	}
	now := d.clock()
	key, err := d.purse.take(now, g.Prekey, g.Session)
	if err != nil {
		return PrivateKey{}, err
	}
	if s == nil {
		s = new(open)
		d.sessions[g.Session] = s
	}
	s.former.Erase()
	s.former = s.key
	s.say(g, content)
	s.prekey, s.key = g.Prekey, key
	d.tidy(now)
	return key, nil
}

// say takes over what a revision says, but for its key.
func (s *open) say(g *Grant, content [32]byte) {
	s.rev, s.content, s.node, s.lifetime = g.Rev, content, g.Far.Node != "", g.Lifetime
}

// End says that a session is over, whether it was accepted or not: its private
// keys are erased, and what names it later is refused as closed. The latest
// 1,024 are remembered; older ones cannot come back either, because their
// prekeys are gone.
func (d *Device) End(session string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.sessions[session]; s != nil {
		s.key.Erase()
		s.former.Erase()
		delete(d.sessions, session)
	}
	if session != "" {
		d.purse.end(session)
		d.closed.add(session)
	}
}
