package gateway

import (
	"context"
	"net"
	"time"

	"github.com/boothwire/boothwire/internal/strictjson"
	"github.com/boothwire/boothwire/keys"
)

// strangers bounds how many downs of sessions never seen here are remembered, and
// strangerFor how long: longer than any grant that was signed before its down.
const (
	strangers   = 4096
	strangerFor = 24 * time.Hour
)

// End ends a session at once, live connections included. Grants of it, later or
// earlier, are refused as closed from then on; so are those of a session that is
// not here yet. It is idempotent. ctx bounds only the call.
func (n *Node) End(ctx context.Context, session string) error {
	if err := n.usable(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.shut {
		return net.ErrClosed
	}
	n.end(session)
	return nil
}

func (n *Node) end(session string) {
	if h := n.sessions[session]; h != nil {
		n.close(session, "", tombstone{until: h.grant.End})
		return
	}
	now := n.clock()
	t, known := n.closed[session]
	switch {
	case known && t.moved == 0:
	case known:
		t.moved = 0
		n.bury(session, t)
	case n.strange < strangers:
		n.strange++
		n.bury(session, tombstone{until: now.wall.Add(strangerFor), stranger: true})
		n.remind(now.mono+strangerFor, session)
	}
	n.emit(Event{At: now.wall, Kind: KindClosed, Session: session})
}

// endSigned obeys control's signed down; session is as in admitFor.
func (n *Node) endSigned(session string, token []byte) error {
	payload, err := n.roots.Verify(keys.TypeDown, token)
	var down struct {
		Session string `json:"session"`
		Why     string `json:"why"`
	}
	if err == nil {
		err = strictjson.Unmarshal(payload, &down)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.shut {
		return net.ErrClosed
	}
	if err == nil && !keys.ValidID(down.Session) {
		err = refuse(keys.ReasonMalformed, "a down without a session")
	}
	if err != nil {
		n.refused(session, nil, err)
		return err
	}
	n.end(down.Session)
	return nil
}

// close takes a session in force out and leaves t in its place; n.mu is held.
func (n *Node) close(session, code string, t tombstone) {
	h := n.sessions[session]
	t.keys, t.latest = h.keys, h.latest
	n.bury(session, t)
	last := n.plane.Remove(session)
	n.legs.end(session)
	n.release(h.grant)
	delete(n.sessions, session)
	now := n.clock()
	n.remind(now.mono+t.left(now), session)
	n.counts.ended[endedBy(code)]++
	n.counts.rx += last.Rx
	n.counts.tx += last.Tx
	n.emit(Event{At: now.wall, Kind: KindClosed, Session: session, Rev: h.grant.Rev, Code: code, Rx: last.Rx, Tx: last.Tx})
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
