package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/internal/journal"
	"github.com/boothwire/boothwire/internal/strictjson"
	"github.com/boothwire/boothwire/keys"
)

// What a node remembers over a restart stands in its journal, under each session's
// id: the grant in force, or that the session is over. It is no truth of the node's
// own: a grant counts for what its signature is worth.
//
// What a change takes away must not come back, so a change and an end are written
// before the data plane has them. A session new here is written after: one that the
// data plane refused is not there, and one that a kill took from between the two
// control says again, which has not heard that it is in force.

// remembered is what the journal says of a session: Grant with what came beside it,
// or Until with what a tombstone says.
type remembered struct {
	At     int64            `json:"at"`               // when it was written
	Grant  string           `json:"grant,omitempty"`  // signed
	Relays []keys.Relay     `json:"relays,omitempty"` // the node's legs
	Since  int64            `json:"since,omitempty"`  // when the first grant of the session came
	Until  int64            `json:"until,omitempty"`
	Moved  int              `json:"moved,omitempty"`
	Keys   []keys.PublicKey `json:"keys,omitempty"` // that it named in time, beside the grant's
}

// maxRemembered bounds the keys that a line names: a session has one for each person,
// and one for each time that a device's clock was set.
const maxRemembered = 1000

// openJournal opens the journal, if the node is to have one.
func (n *Node) openJournal() (err error) {
	if n.cfg.Journal == "" {
		return nil
	}
	if n.journal, err = journal.Open(n.cfg.Journal, n.cfg.Logger); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

func (n *Node) closeJournal() error {
	if n.journal == nil {
		return nil
	}
	return n.journal.Close()
}

// write notes what is remembered of a session; n.mu is held.
func (n *Node) write(session string, r remembered) {
	if n.journal == nil {
		return
	}
	r.At = n.clock().wall.UnixMilli()
	r.Keys = r.Keys[max(0, len(r.Keys)-maxRemembered):]
	b, err := json.Marshal(r)
	if err != nil {
		n.cfg.Logger.Error("a session is not remembered", zap.String("session", session), zap.Error(err))
		return
	}
	n.journal.Set(session, b)
}

// writeGrant notes a grant in force; since and named are of the session.
func (n *Node) writeGrant(o *offer, since time.Time, named []keys.PublicKey) {
	n.write(o.grant.Session, remembered{Grant: string(o.text), Relays: o.relays, Since: since.UnixMilli(), Keys: named})
}

// bury leaves a tombstone in the place of a session; n.mu is held.
func (n *Node) bury(session string, t tombstone) {
	n.closed[session] = t
	n.unwrite(heardMark + session)
	n.write(session, remembered{Until: t.until.UnixMilli() + 1, Moved: t.moved, Keys: t.keys})
}

// forget forgets a tombstone; n.mu is held.
func (n *Node) forget(session string, t tombstone) {
	delete(n.closed, session)
	if t.stranger {
		n.strange--
	}
	for _, k := range t.keys {
		delete(n.keys, k)
	}
	n.unwrite(session)
}

// unwrite takes out what is remembered of a session; n.mu is held.
func (n *Node) unwrite(session string) {
	if n.journal != nil {
		n.journal.Delete(session)
	}
}

// recall puts back into force what was remembered, as far as it holds still. It runs
// before anything else may change the node.
func (n *Node) recall(lines iter.Seq2[string, []byte]) {
	now := n.clock()
	said := make(map[string]remembered)
	latest := now.wall
	heard := make(map[string][]byte)
	for session, value := range lines {
		if strings.HasPrefix(session, heardMark) {
			heard[session] = value
			continue
		}
		var r remembered
		err := strictjson.Unmarshal(value, &r)
		if err == nil && !keys.ValidID(session) {
			err = errors.New("no session")
		}
		if err != nil {
			n.leaveOut(session, err)
			continue
		}
		said[session] = r
		if at := time.UnixMilli(r.At); at.After(latest) {
			latest = at
		}
	}
	if latest.Sub(now.wall) > stepTolerance {
		n.cfg.Logger.Warn("the clock is behind the journal", zap.Time("journal", latest))
	}
	for session, r := range said {
		if r.Grant == "" {
			n.recallTombstone(session, &r, now)
		}
	}
	for session, r := range said {
		if r.Grant == "" {
			continue
		}
		if err := n.recallGrant(session, &r, now, latest); err != nil {
			n.leaveOut(session, err)
			continue
		}
		n.counts.restored++
	}
	for key, value := range heard {
		n.recallHeard(key, value)
	}
	if len(said) > 0 {
		n.cfg.Logger.Info("sessions found again", zap.Int("in force", len(n.sessions)), zap.Int("over", len(n.closed)))
	}
}

// leaveOut drops what the journal says of a session. That its end has come is no news.
func (n *Node) leaveOut(session string, err error) {
	n.unwrite(session)
	code := codeOf(err)
	if code == keys.ReasonExpired {
		return
	}
	if silent, ok := n.noted.log(code, n.clock().mono); ok {
		n.cfg.Logger.Warn("not put back into force", zap.String("session", session), zap.String("code", code), zap.Error(err), zap.Int("before", silent))
	}
}

func (n *Node) recallTombstone(session string, r *remembered, now instant) {
	t := tombstone{until: time.UnixMilli(r.Until), moved: r.Moved, keys: r.Keys}
	if !t.until.After(now.wall) {
		n.unwrite(session)
		return
	}
	n.closed[session] = t
	for _, k := range t.keys {
		n.keys[k] = session
	}
	n.remind(now.mono+now.until(t.until), session)
}

// recallGrant puts a grant back into force. latest is the latest that any clock said:
// one that was set back while nobody looked prolongs no session.
func (n *Node) recallGrant(session string, r *remembered, now instant, latest time.Time) error {
	g, err := n.roots.VerifyGrant([]byte(r.Grant))
	if err != nil {
		return err
	}
	if g.Session != session {
		return refuse(keys.ReasonMalformed, "the grant is of another session")
	}
	if err := n.fits(g, latest); err != nil {
		return err
	}
	if err := n.check(g); err != nil {
		return err
	}
	s := installed(g)
	s.Resumed = true
	if err := n.plane.Set(s); err != nil {
		return err
	}
	h := &held{grant: g, relays: r.Relays, installed: time.UnixMilli(r.Since), latest: now.mono + instant{wall: latest}.until(g.End), fresh: true}
	n.claim(g, h)
	for _, k := range r.Keys {
		if _, ok := n.keys[k]; !ok {
			n.keys[k] = session
			h.keys = append(h.keys, k)
		}
	}
	n.sessions[session] = h
	n.remind(now.mono+h.left(now), session)
	met := n.named(g, r.Relays)
	if c, ok := n.plane.(caller); ok {
		for i := range met {
			met[i].called = func(at netip.AddrPort) { c.Call(session, met[i].key, at) }
		}
	}
	n.lay(g, met)
	return nil
}
