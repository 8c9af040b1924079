package control

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
)

// node is one gateway; Control.mu guards it.
type node struct {
	row       store.Node
	identity  keys.IdentityKey // zero: not enrolled
	key       keys.PublicKey
	endpoints []netip.AddrPort
	operators []netip.AddrPort // endpoints for them, where they differ
	proof     netip.Addr
	link      *link     // nil: not connected
	reports   [8]uint64 // numbers of the latest, which may come again
	sessions  map[string]*session
	standing
}

// link is one stream of a node that follows.
type link struct {
	ready chan struct{} // of one
	lines []nodeLine    // guarded by Control.mu
	gone  chan struct{} // closed when another stream took its place
}

// maxLines bounds what waits for a node that does not read: every session that it
// can hold, twice.
const maxLines = 1 << 15

// say queues a line for the node. One that is away is told all when it comes back.
func (n *node) say(l nodeLine) {
	if n.link == nil {
		return
	}
	if len(n.link.lines) >= maxLines {
		n.cut()
		return
	}
	n.link.lines = append(n.link.lines, l)
	select {
	case n.link.ready <- struct{}{}:
	default:
	}
}

// cut ends the node's stream.
func (n *node) cut() {
	if n.link != nil {
		close(n.link.gone)
		n.link = nil
	}
}

func (n *node) show() client.Node {
	v := client.Node{
		Name: n.row.Name, Identity: n.identity, Key: n.key, State: "disconnected", Endpoints: slices.Clone(n.endpoints),
		Proof: n.proof, Sessions: len(n.live), LastSeen: n.row.Seen, Version: n.row.Version, Draining: n.row.Draining, Moving: n.row.Moving,
		Region: n.region, Capacity: n.capacity,
	}
	if v.Endpoints == nil {
		v.Endpoints = []netip.AddrPort{}
	}
	switch {
	case n.lost:
		v.State = "lost"
	case n.link != nil:
		v.State = "connected"
	case n.identity.IsZero():
		v.State = "claimed"
	}
	return v
}

// stored is the node as the store has it.
func (n *node) stored() store.Node {
	row := n.row
	row.Endpoints = nil
	for _, e := range n.endpoints {
		row.Endpoints = append(row.Endpoints, e.String())
	}
	row.Operators = nil
	for _, e := range n.operators {
		row.Operators = append(row.Operators, e.String())
	}
	return row
}

// keep writes a node, soon; mu is held.
func (c *Control) keep(n *node) {
	row := n.stored()
	c.store.Later("node/"+row.Name, func(tx *store.Tx) error { return tx.PutNode(row) })
}

// hashOf is how secrets with enough entropy of their own are kept.
func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// byIdentity returns the enrolled node with that certificate key; mu is held.
func (c *Control) byIdentity(k keys.IdentityKey) *node {
	if k.IsZero() {
		return nil
	}
	for _, n := range c.nodes {
		if n.identity == k {
			return n
		}
	}
	return nil
}

// attach makes l the stream of n, and says all that n has to know.
func (c *Control) attach(n *node, l *link, now time.Time) {
	n.cut()
	n.link = l
	c.hear(n, now)
	c.keep(n)
	n.say(nodeLine{Kind: lineHello, Proof: n.proof, Pool: c.cfg.Pool})
	for _, s := range sorted(n.sessions) {
		if s.m.Ended() {
			c.endAtNode(s)
		} else if s.grant != nil {
			c.install(s)
		}
	}
	c.log.Info("node is there", zap.String("node", n.row.Name))
}

// detachNode forgets a stream that ended.
func (c *Control) detachNode(n *node, l *link, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.link == l {
		n.link = nil
		n.row.Seen = now
		if !n.beats {
			n.heard = now
		}
		c.keep(n)
		c.log.Warn("node is gone", zap.String("node", n.row.Name))
	}
}

func sorted(m map[string]*session) []*session {
	list := make([]*session, 0, len(m))
	for _, s := range m {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *session) int { return strings.Compare(a.id, b.id) })
	return list
}

// told takes one report of a node, and returns the sessions that it holds and control
// does not know; mu is held.
func (c *Control) told(n *node, r *nodeReport, now time.Time) (unknown []string) {
	c.hear(n, now)
	if r.Sessions != nil { // the first of a follow, which says how the node is
		n.beats, n.region, n.capacity = r.Beats, shownWord(r.Region), min(max(r.Capacity, 0), maxHeld)
	}
	if len(r.Endpoints) > 0 {
		n.endpoints, n.operators = usable(r.Endpoints), usable(r.Operators)
	}
	if r.Version != "" {
		n.row.Version = shownWord(r.Version)
	}
	if r.Sessions != nil {
		unknown = c.reconcile(n, *r.Sessions, now)
	}
	if !n.took(r.Seq) {
		for i := range r.Events {
			c.event(n, &r.Events[i], now)
		}
	}
	c.keep(n)
	return unknown
}

// firstSeq is beyond the numbers of nodes that count their reports from 1 in each run.
const firstSeq = 1 << 32

// took reports whether the events of a report were taken before, whose answer did not
// get to the node, and takes note of it.
func (n *node) took(seq uint64) bool {
	if seq < firstSeq {
		return false
	}
	if slices.Contains(n.reports[:], seq) {
		return true
	}
	copy(n.reports[1:], n.reports[:])
	n.reports[0] = seq
	return false
}

// reconcile compares what the node holds with what it should; it got that at the
// start of its stream already. It returns what is no session that control knows.
func (c *Control) reconcile(n *node, held []nodeHeld, now time.Time) (unknown []string) {
	kept := make(map[string]bool, len(held))
	for _, h := range held {
		if _, again := kept[h.Session]; again {
			continue
		}
		kept[h.Session] = h.Rev > 0 && !h.Fresh
		if s := n.sessions[h.Session]; s != nil || !keys.ValidID(h.Session) {
			continue
		}
		if s := c.sessions[h.Session]; s != nil {
			c.elsewhere(s, n, h.Rev, now)
			continue
		}
		unknown = append(unknown, h.Session)
	}
	for _, s := range n.sessions {
		if s.m.Ended() {
			continue
		}
		lost := s.m.Proved && !kept[s.id]
		s.m.NodeBack(kept[s.id])
		if lost && s.revives.take(now, revivesRate, revivesBurst) && c.begin() {
			go func() {
				defer c.work.Done()
				c.revive(s)
			}()
		}
	}
	return unknown
}

// endUnknown tells a node that sessions are over of which control knows nothing. Signing
// takes most of the time, so it is done without the lock: a node may make up many.
func (c *Control) endUnknown(n *node, sessions []string) {
	for _, id := range sessions {
		token, err := c.sign(keys.TypeDown, downPayload{Session: id, Why: keys.ReasonClosed})
		if err != nil {
			c.log.Error("down", zap.Error(err))
			return
		}
		c.mu.Lock()
		there := n.link != nil
		n.say(nodeLine{Kind: lineEnd, Session: id, Token: string(token)})
		c.mu.Unlock()
		if !there {
			return
		}
	}
}

// How often a session is revived: each time is a row, and a command to its device, and a
// node may say that it has begun again as often as it likes.
const (
	revivesBurst = 4
	revivesRate  = 1.0 / 30 // a second
)

// revive tells a device that its node has begun again: a further revision, in which
// nothing else is new, makes it prove its tunnel at once rather than at its next echo.
func (c *Control) revive(s *session) {
	if err := c.issue(s, change{again: true}); err != nil {
		c.log.Warn("a session that its node lost", zap.String("session", s.id), zap.Error(err))
	}
}

// notItsSession is the audit's code of what a node says about a session that is none of its.
const notItsSession = "unknown_session"

// event takes what happened to a session at its node. A node has no say about the
// sessions of another.
func (c *Control) event(n *node, e *nodeEvent, now time.Time) {
	if e.Code != "" && !keys.ValidID(e.Code) {
		e.Code = keys.ReasonMalformed // it goes into the audit and before people's eyes
	}
	s := n.sessions[e.Session]
	if s == nil && c.formerly(n, e, now) {
		return
	}
	if s == nil {
		if e.Kind != eventClosed && e.Kind != eventBytes {
			code := notItsSession
			if e.Kind == eventRefused && e.Code != "" {
				code = e.Code // what it did not take in is nobody's session, as it should be
			}
			c.audit.count(c.store, now, store.Audit{Who: n.row.Name, What: auditNode, Node: n.row.Name, Code: code}, 1)
		}
		if o := c.sessions[e.Session]; o != nil {
			c.log.Warn("a node speaks of another's session", zap.String("node", n.row.Name), zap.String("session", e.Session))
		}
		return
	}
	if e.Rev > 0 && e.Rev < s.since {
		c.earlier(s, n, e, now)
		return
	}
	if e.From.IsValid() && e.From.Zone() == "" {
		s.dev.from = e.From.Unmap()
	}
	if e.Kind == eventBytes || e.Kind == eventClosed {
		s.count(n, e.Rx, e.Tx)
	}
	// The device's own word about its path, which it may not have said, comes first.
	if s.path == "" && (e.Path == "direct" || e.Path == "relay") {
		s.path = e.Path
	}
	switch e.Kind {
	case eventInstalled:
		if e.Rev == s.m.Rev {
			s.own(client.ByNode, stageInstalled, now)
		}
		s.m.NodeInstalled(now, e.Rev)
	case eventHandshake:
		s.own(client.ByNode, "handshake", now)
	case eventProved:
		s.own(client.ByNode, "proved", now)
		s.m.NodeProved()
	case eventRefused:
		c.audit.count(c.store, now, store.Audit{Who: n.row.Name, What: auditNode, Node: n.row.Name, Device: s.dev.row.ID, Session: s.id, Code: e.Code}, 1)
		rev := e.Rev
		if rev == 0 {
			rev = s.m.Rev // a grant that it could not read names none
		}
		if e.Code == keys.ReasonBusy {
			n.full = now.Add(fullFor)
		}
		s.m.NodeRefused(now, rev, e.Code)
	case eventClosed:
		s.m.NodeClosed(now, e.Code)
	}
	c.act(s, now)
}

// usable drops what is no endpoint, and all beyond what a grant carries.
func usable(list []netip.AddrPort) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range list {
		if a.IsValid() && a.Addr().Zone() == "" && a.Port() != 0 && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast() && len(out) < maxEndpoints {
			out = append(out, a)
		}
	}
	return out
}

const maxEndpoints = 8
