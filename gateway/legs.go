package gateway

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/internal/leg"
	"github.com/boothwire/boothwire/keys"
)

const (
	// maxLegs bounds the legs of a node: each is a TCP connection, a UDP socket and
	// about 100 KiB.
	maxLegs = 8192
	// maxRelays bounds the relays beside one grant; control keeps them within a line.
	maxRelays = 1024
	// outlives is how long a leg goes on after a later grant took its key away: that
	// long a device may need to prove its new key.
	outlives = time.Minute
)

// legs are the node's legs at relays: for each session in force one for each key
// that may come that way. Node.mu guards it, but for work.
type legs struct {
	cfg      *leg.Config // nil: none
	log      *zap.Logger
	sessions map[string]map[keys.PublicKey]*standing
	n        int
	work     sync.WaitGroup
}

// standing is one leg.
type standing struct {
	*leg.Leg
	ends *time.Timer // runs once no grant names the key any more; nil: one does
}

func newLegs(n *Node, key keys.PrivateKey) *legs {
	l := &legs{log: n.cfg.Logger, sessions: make(map[string]map[keys.PublicKey]*standing)}
	if n.cfg.Relay != nil {
		l.cfg = &leg.Config{Dial: n.cfg.Relay, Key: key, Logger: n.cfg.Logger}
	}
	return l
}

// named is where one key of a session is met.
type named struct {
	key    keys.PublicKey
	port   uint16                  // the node's, for that key
	relays []keys.Relay            // in order
	called func(at netip.AddrPort) // when it is met, to be called there; nil: it comes
}

// named returns the legs that g's peers are met at. A token that is not for this node
// and a key of g is passed over: a grant is in force without it.
func (n *Node) named(g *keys.Grant, relays []keys.Relay) (list []named) {
	if n.cfg.Relay == nil {
		return nil
	}
	seen := make(map[string]int) // token: where its key is in list; -1: no good
	for _, r := range relays[:min(len(relays), maxRelays)] {
		i, ok := seen[r.Token]
		if !ok {
			i = -1
			if key, err := n.meets(g, r.Token); err != nil {
				n.cfg.Logger.Warn("a leg is refused", zap.String("session", g.Session), zap.String("code", codeOf(err)), zap.Error(err))
			} else if i = slices.IndexFunc(list, func(p named) bool { return p.key == key }); i < 0 {
				i = len(list)
				list = append(list, named{key: key, port: n.portFor(g, key)})
			}
			seen[r.Token] = i
		}
		if i >= 0 {
			list[i].relays = append(list[i].relays, r)
		}
	}
	return list
}

// portFor is the UDP port of this node to which the peer with that key speaks.
func (n *Node) portFor(g *keys.Grant, key keys.PublicKey) uint16 {
	if key == g.Prekey {
		return n.port
	}
	return n.entry
}

// meets verifies a token for a leg of this node's, and returns the key of the other
// end.
func (n *Node) meets(g *keys.Grant, token string) (other keys.PublicKey, err error) {
	t, err := n.roots.VerifyToken([]byte(token))
	switch {
	case err != nil:
		return other, err
	case t.Session != g.Session:
		return other, refuse(keys.ReasonMalformed, "the leg is another session's")
	case t.Ends[t.Leg] != n.key:
		return other, refuse(keys.ReasonWrongNode, "the leg is not this node's")
	case !slices.Contains(keysOf(g), t.Ends[1-t.Leg]):
		return other, refuse(keys.ReasonMalformed, "the leg leads to nobody of the session")
	}
	return t.Ends[1-t.Leg], nil
}

// lay brings the legs of a session in line with g, which is in force, and what was
// named beside it; n.mu is held.
func (n *Node) lay(g *keys.Grant, named []named) {
	h := n.sessions[g.Session]
	if n.legs.cfg == nil || h == nil {
		return // it was g's move to another node
	}
	for _, p := range named {
		n.legs.start(g.Session, p)
	}
	have := keysOf(g)
	for key := range n.legs.sessions[g.Session] {
		if !slices.Contains(have, key) {
			n.legs.retire(n, g.Session, key)
		}
	}
}

// start makes a leg, or shows a standing one its later tokens.
func (l *legs) start(session string, p named) {
	log := l.log.With(zap.String("session", session))
	of := l.sessions[session]
	if s := of[p.key]; s != nil {
		if s.ends != nil {
			s.ends.Stop()
			s.ends = nil
		}
		s.Renew(p.relays)
		return
	}
	if l.n >= maxLegs {
		log.Warn("no room for a leg", zap.Int("legs", l.n))
		return
	}
	if of == nil {
		of = make(map[keys.PublicKey]*standing)
		l.sessions[session] = of
	}
	s := &standing{Leg: leg.Start(l.cfg, p.port, p.relays, p.called, log)}
	of[p.key] = s
	l.n++
	l.work.Go(s.Wait)
}

// retire ends a leg whose key no grant names any more, after a while.
func (l *legs) retire(n *Node, session string, key keys.PublicKey) {
	s := l.sessions[session][key]
	if s.ends != nil {
		return
	}
	s.ends = time.AfterFunc(outlives, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if l.sessions[session][key] != s || s.ends == nil {
			return
		}
		s.Stop()
		l.n--
		delete(l.sessions[session], key)
	})
}

// end ends the legs of a session.
func (l *legs) end(session string) {
	for _, s := range l.sessions[session] {
		if s.ends != nil {
			s.ends.Stop()
		}
		s.Stop()
		l.n--
	}
	delete(l.sessions, session)
}

// close ends all legs; work is over when nothing is left of them.
func (l *legs) close() {
	for session := range l.sessions {
		l.end(session)
	}
}

// up counts the legs that are at a relay.
func (l *legs) up() (n int) {
	for _, of := range l.sessions {
		for _, s := range of {
			if s.Up() {
				n++
			}
		}
	}
	return n
}
