package control

import (
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/internal/machine"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
)

// How a session goes from one node to another, make before break:
//
//	control            new node        device        operators      node before
//	  │ next revision ───►│              │               │               │ carries
//	  │◄───── installed ──┤              │               │               │
//	  ├── wake, when admitted ──────────►│               │               │
//	  │                   │◄─ handshake ─┤ proof address only            │
//	  │◄──────── proved ──┤── echo ─────►│ all over to the new node      │
//	  ├── the session's node has changed ───────────────►│               │
//	  │                   │◄──────────────── handshake ──┤               │
//	  ├── the same revision, which names another ───────────────────────►│ drops it
//
// Tunnel addresses stay, so connections through the session do. Control believes of a
// session only the node that the latest revision names.

// moveAgain is how long a session for which no other node was found waits for the next
// attempt.
const moveAgain = 5 * time.Second

// rehome makes n the node of s by revision rev; mu is held.
func (c *Control) rehome(s *session, n *node, rev int) {
	c.leave(s)
	if old := s.node; old != nil {
		old.drop(s)
		if !slices.Contains(s.former, old) {
			s.former = append(s.former, old)
		}
	}
	if !slices.Contains(s.former, n) { // one that has not let go counts on
		s.countsAnew(n)
	}
	s.former = slices.DeleteFunc(s.former, func(o *node) bool { return o == n })
	s.node, s.name, s.since, s.dev.last = n, n.row.Name, rev, n.row.Name
	n.take(s)
}

// movable reports whether s can be given to another node now.
func (s *session) movable(now time.Time) bool {
	return !s.m.Ended() && !s.m.Alone && s.m.Rev > 0 && !s.placing && !now.Before(s.moveAt)
}

// replace finds another node for s than the one that does not take it, or that its
// device does not reach; mu is held.
func (c *Control) replace(s *session, now time.Time) {
	if s.placing {
		return
	}
	left := []*node{s.node}
	if !s.m.Woken {
		left = append(left, s.former...) // each is asked once
	}
	var n *node
	if s.m.Woken || !s.named {
		n = c.best(s.dev, now, left...)
	}
	if n == nil && s.carrier != nil && s.carrier != s.node && s.carrier.reachable() {
		n = s.carrier // rather than nowhere
	}
	if n == nil {
		s.moveAt = now.Add(moveAgain)
		code := machine.CodeNodeUnreachable
		if s.node != nil && now.Before(s.node.full) {
			code = machine.CodeNodeRefused
		}
		s.m.Unplaced(now, code, s.m.Why)
		return
	}
	c.move(s, n)
}

// move has s go to n; mu is held.
func (c *Control) move(s *session, n *node) {
	if !c.begin() {
		return
	}
	s.placing = true
	n.coming++
	go func() {
		defer c.work.Done()
		err := c.issue(s, change{to: n})
		c.mu.Lock()
		defer c.mu.Unlock()
		n.coming--
		s.placing = false
		if err == nil || s.m.Ended() {
			return
		}
		c.log.Warn("not moved", zap.String("session", s.id), zap.String("node", n.row.Name), zap.Error(err))
		now := c.cfg.Now()
		s.moveAt = now.Add(moveAgain)
		s.m.Unplaced(now, codeOf(err, machine.CodeInternal), whyOf(err))
		c.act(s, now)
	}()
}

// wayOf is the node that a revision names: that of ch, if it moves s. One that takes
// somebody out of a session that is on its way goes back to the node that carries it, for
// that one alone can cut him off at once, and is told of no revision that names another
// before the device has left. What has to move then moves without him.
func (c *Control) wayOf(s *session, ch change) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := s.carrier
	if len(ch.remove) == 0 || !s.m.Moving() || n == nil || n == s.node || n.lost || !n.reachable() {
		return ch.to
	}
	return n
}

// moved says that the device is at its new node; mu is held.
func (c *Control) moved(s *session, now time.Time) {
	var from []string
	for _, n := range s.former {
		from = append(from, n.row.Name)
	}
	c.counts.moved.Add(1)
	c.note(store.Audit{What: auditMoved, Device: s.dev.row.ID, Session: s.id, Node: s.name, Detail: "rev " + strconv.Itoa(s.m.Rev)})
	c.log.Info("moved", zap.String("session", s.id), zap.String("node", s.name), zap.Strings("from", from))
	for _, n := range s.former {
		c.reveal(s, n)
	}
}

// reveal shows a node before the revision that names another, at which it drops the
// session. One that is away is shown it when it is back and says that it holds it.
func (c *Control) reveal(s *session, n *node) {
	n.say(nodeLine{Kind: lineGrant, Session: s.id, Token: string(s.grant)})
}

// entrust takes note that a revision of s names a node; mu is held.
func (s *session) entrust(name string) {
	if !slices.Contains(s.nodes, name) {
		s.nodes = append(s.nodes, name)
	}
}

// entrusted reports whether n may hold a revision of s: one that it was never given names
// the operators of another, and where they are.
func (s *session) entrusted(n *node) bool {
	return !s.endToEnd && (slices.Contains(s.nodes, n.row.Name) || slices.Contains(s.nodes, ""))
}

// elsewhere takes note that n says that it holds revision rev of s, which is another
// node's by its latest. It keeps it until the device is proved there, unless it would let in somebody
// whom a later revision took out. Where this process does not know which node carries s,
// it is the one with the earliest: those to which s went since have later ones.
func (c *Control) elsewhere(s *session, n *node, rev int, now time.Time) {
	if !s.entrusted(n) {
		c.audit.count(c.store, now, store.Audit{Who: n.row.Name, What: auditNode, Node: n.row.Name, Code: notItsSession}, 1)
		c.log.Warn("a node claims a session that it was never given", zap.String("node", n.row.Name), zap.String("session", s.id))
		return
	}
	if !slices.Contains(s.former, n) {
		s.former = append(s.former, n)
	}
	switch {
	case s.m.Ended():
		c.endAtNode(s)
	case s.m.Proved, rev < s.cut:
		c.reveal(s, n)
	case s.carrier == nil, rev < s.guess:
		s.carrier, s.guess = n, rev
	}
}

// earlier takes what a node says of a revision that it had before s went to another and
// came back, as formerly does: that it let go then ends nothing, and that the device was
// there proves nothing now.
func (c *Control) earlier(s *session, n *node, e *nodeEvent, now time.Time) {
	if e.Kind == eventBytes || e.Kind == eventClosed {
		s.count(n, e.Rx, e.Tx)
		c.act(s, now)
	}
	if e.Kind == eventClosed {
		s.countsAnew(n)
	}
}

// formerly takes what a node says about a session that it had, and reports whether it
// did: its counters count, and that it has let go of it. It has no other say.
func (c *Control) formerly(n *node, e *nodeEvent, now time.Time) bool {
	s := c.sessions[e.Session]
	if s == nil || !slices.Contains(s.former, n) {
		return false
	}
	switch {
	case e.Kind == eventClosed, e.Kind == eventRefused && e.Code == keys.ReasonWrongNode:
		s.former = slices.DeleteFunc(s.former, func(o *node) bool { return o == n })
		if s.carrier == n {
			s.carrier = nil
		}
	case e.Kind != eventBytes:
		return true
	}
	if e.Kind != eventRefused {
		s.count(n, e.Rx, e.Tx)
		c.act(s, now)
	}
	return true
}
