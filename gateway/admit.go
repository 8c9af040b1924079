package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/boothwire/boothwire/keys"
)

const (
	// maxPeers is below wireguard-go's own bound of 65,536.
	maxPeers = 60000
	// maxKeys bounds the keys that a node knows, of sessions that are over too: some
	// 150 MB. They are remembered until the end of their grants, an hour by default.
	maxKeys = 1 << 20
)

// Admit verifies a grant and puts it into force: a session new here, or a higher
// rev of one that is here, changed in place. The same grant again is a no-op. A
// higher rev that names another node ends the session here and is no error. Every
// other grant is refused with a *keys.GrantError, whose Code says why, and changes
// nothing. ctx bounds only the call.
func (n *Node) Admit(ctx context.Context, grant []byte) error {
	return n.admitFor(ctx, "", grant, nil)
}

// admitFor is Admit of a grant that came with the name of a session, which a
// refusal is reported for when the grant itself cannot be believed, and with the
// node's own legs at relays.
func (n *Node) admitFor(ctx context.Context, session string, grant []byte, relays []keys.Relay) error {
	if err := n.usable(ctx); err != nil {
		return err
	}
	g, err := n.roots.VerifyGrant(grant)
	var named []named
	if err == nil {
		named = n.named(g, relays)
	}
	o := &offer{grant: g, text: grant, relays: relays}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.shut {
		return net.ErrClosed
	}
	if err == nil {
		err = n.admit(o)
	}
	if err != nil {
		n.refused(session, g, err)
		return err
	}
	n.lay(g, named)
	return nil
}

// refused counts and reports a refusal; g is nil when not even verified.
func (n *Node) refused(session string, g *keys.Grant, err error) {
	e := Event{At: n.clock().wall, Kind: KindRefused, Session: session, Code: codeOf(err)}
	if g != nil {
		e.Session, e.Rev = g.Session, g.Rev
	}
	n.counts.refused[e.Code]++
	n.emit(e)
}

func refuse(reason, format string, a ...any) error {
	return &keys.GrantError{Reason: reason, Err: fmt.Errorf(format, a...)}
}

// codeOf is the code of an error, or "failed" if it has none.
func codeOf(err error) string {
	var coded interface{ Code() string }
	if errors.As(err, &coded) {
		return coded.Code()
	}
	return "failed"
}

// offer is a grant as it came.
type offer struct {
	grant  *keys.Grant
	text   []byte
	relays []keys.Relay // the node's own legs
}

// fits reports whether g is for this node, and not past its end.
func (n *Node) fits(g *keys.Grant, now time.Time) error {
	if err := g.ForNode(n.name, n.key, now); err != nil {
		return err
	}
	if g.Far.Proof != n.cfg.Proof {
		return refuse(keys.ReasonWrongNode, "the proof address is %v here, not %v", n.cfg.Proof, g.Far.Proof)
	}
	return nil
}

func (n *Node) admit(o *offer) error {
	n.watch() // what was seen until now belongs to the grant until now
	now, g := n.clock(), o.grant
	h := n.sessions[g.Session]
	if err := n.fits(g, now.wall); err != nil {
		if codeOf(err) == keys.ReasonWrongNode && h != nil && g.Rev > h.grant.Rev && g.Device == h.grant.Device && g.Far.Node != n.name {
			n.close(g.Session, CodeMoved, tombstone{until: later(h.grant.End, g.End), moved: g.Rev})
			return nil
		}
		return err
	}
	if t, ok := n.closed[g.Session]; ok && (t.moved == 0 || g.Rev <= t.moved) {
		return refuse(keys.ReasonClosed, "the session is over")
	}
	if h != nil {
		switch {
		case g.Device != h.grant.Device:
			return refuse(keys.ReasonWrongDevice, "the session is of another device")
		case g.Rev == h.grant.Rev && reflect.DeepEqual(g, h.grant):
			n.again(h)
			if len(o.relays) > 0 && !slices.Equal(o.relays, h.relays) {
				h.relays = o.relays
				n.writeGrant(o, h.installed, h.keys)
			}
			return nil
		case g.Rev <= h.grant.Rev:
			return refuse(keys.ReasonReplayed, "rev %d is in force", h.grant.Rev)
		}
	}
	if h == nil && n.cfg.Capacity > 0 && len(n.sessions) >= n.cfg.Capacity {
		return refuse(keys.ReasonBusy, "the node holds %d sessions", len(n.sessions))
	}
	if err := n.check(g); err != nil {
		return err
	}
	return n.install(o, h, now)
}

// again tells control what it asks about: that a grant in force is in force.
func (n *Node) again(h *held) {
	g := h.grant
	n.emit(Event{At: n.clock().wall, Kind: KindInstalled, Session: g.Session, Rev: g.Rev})
	if !h.proved.IsZero() {
		n.emit(Event{At: h.proved, Kind: KindProved, Session: g.Session, Rev: g.Rev})
	}
}

// check refuses keys and addresses that are not the session's to use.
func (n *Node) check(g *keys.Grant) error {
	peers := len(n.addresses) + 1 + len(g.Operators)
	if h := n.sessions[g.Session]; h != nil {
		peers -= len(addressesOf(h.grant))
	}
	if peers > maxPeers {
		return refuse(keys.ReasonBusy, "the node holds %d peers", len(n.addresses))
	}
	if len(n.keys)+1+len(g.Operators) > maxKeys {
		return refuse(keys.ReasonBusy, "the node remembers %d keys", len(n.keys))
	}
	if owner, ok := n.keys[g.Prekey]; ok && owner != g.Session {
		return refuse(keys.ReasonUsedPrekey, "the prekey was installed for another session")
	}
	named := []keys.PublicKey{n.key, g.Prekey}
	for _, o := range g.Operators {
		if slices.Contains(named, o.Key) {
			return refuse(keys.ReasonMalformed, "an operator has another's key")
		}
		if owner, ok := n.keys[o.Key]; ok && owner != g.Session {
			return refuse(keys.ReasonUsedPrekey, "an operator's key was installed for another session")
		}
		named = append(named, o.Key)
	}
	for _, a := range addressesOf(g) {
		if !n.cfg.Pool.Contains(a) || a == n.cfg.Proof {
			return refuse(keys.ReasonMalformed, "%v is no address for a session in %v", a, n.cfg.Pool)
		}
		if owner, ok := n.addresses[a]; ok && owner != g.Session {
			return refuse(keys.ReasonBusy, "%v is in use by another session", a)
		}
	}
	return nil
}

// install puts a checked grant into force; h is what it replaces, or nil.
func (n *Node) install(o *offer, h *held, now instant) error {
	g := o.grant
	if h != nil {
		n.writeGrant(o, h.installed, h.keys)
	}
	s := installed(g)
	s.Resumed = g.Rev > 1 // it may come from another node
	if err := n.plane.Set(s); err != nil {
		if h != nil {
			n.close(g.Session, "failed", tombstone{until: later(h.grant.End, g.End)})
		}
		return err
	}
	next := &held{grant: g, relays: o.relays, installed: now.wall, latest: now.mono + now.until(g.End)}
	if h != nil {
		next.installed, next.keys, next.heard = h.installed, h.keys, h.heard
		if g.Prekey == h.grant.Prekey {
			next.handshake, next.proved, next.fresh = h.handshake, h.proved, h.fresh
		}
		n.release(h.grant)
	} else if t, ok := n.closed[g.Session]; ok {
		next.keys = t.keys
		delete(n.closed, g.Session)
	}
	if h == nil {
		n.writeGrant(o, next.installed, next.keys)
	}
	n.claim(g, next)
	n.sessions[g.Session] = next
	n.counts.admitted++
	n.hearing.soon(now.mono)
	n.remind(now.mono+next.left(now), g.Session)
	n.emit(Event{At: now.wall, Kind: KindInstalled, Session: g.Session, Rev: g.Rev})
	return nil
}

// claim records whose g's keys and addresses are.
func (n *Node) claim(g *keys.Grant, h *held) {
	for _, k := range keysOf(g) {
		if _, ok := n.keys[k]; !ok {
			n.keys[k] = g.Session
			h.keys = append(h.keys, k)
		}
	}
	for _, a := range addressesOf(g) {
		n.addresses[a] = g.Session
	}
}

// release gives g's addresses back; its keys stay the session's until its end.
func (n *Node) release(g *keys.Grant) {
	for _, a := range addressesOf(g) {
		delete(n.addresses, a)
	}
}

func keysOf(g *keys.Grant) []keys.PublicKey {
	list := []keys.PublicKey{g.Prekey}
	for _, o := range g.Operators {
		list = append(list, o.Key)
	}
	return list
}

func addressesOf(g *keys.Grant) []netip.Addr {
	list := slices.Clone(g.Addresses)
	for _, o := range g.Operators {
		list = append(list, o.Address)
	}
	return list
}
