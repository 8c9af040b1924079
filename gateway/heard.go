package gateway

import (
	"encoding/json"
	"maps"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/internal/strictjson"
	"github.com/boothwire/boothwire/keys"
)

// A caller is a data plane whose WireGuard keys end with its process. A restarted node
// speaks first to those whom it spoke with before, who would else wait in vain for
// answers: to each once, where it was heard last.
type caller interface {
	// Heard returns where each peer was heard last, of those that were.
	Heard() map[[32]byte]netip.AddrPort
	// Call begins a handshake with a session's peer at that address, soon.
	Call(session string, key [32]byte, at netip.AddrPort)
}

// heardLine is what the journal says, under heardMark and the session's id, of where
// its peers were heard.
type heardLine struct {
	At map[keys.PublicKey]netip.AddrPort `json:"heard"`
}

// heardMark is in no session's id.
const heardMark = "@"

// How long after something new the node looks where peers are heard, and, doubling, how
// often while packets flow. At 10,000 peers one look is 40 ms of a core, so that the
// looks are also hearRest times as far apart as they take: 2 % of a core.
const (
	hearSoon = 250 * time.Millisecond
	hearMost = 10 * time.Second
	hearRest = 50
)

// hearing is when to look again; Node.mu guards it.
type hearing struct {
	at     time.Duration // on the monotonic clock
	pause  time.Duration
	rest   time.Duration // at least
	passed uint64        // packets, at the last look
}

// soon has the node look shortly: there is a new session, or a device that proved itself.
func (h *hearing) soon(now time.Duration) {
	h.pause = hearSoon / 2
	h.at = min(h.at, now+max(hearSoon, h.rest))
}

// took notes how long a look took.
func (h *hearing) took(d time.Duration) { h.rest = hearRest * d }

// due reports whether to look now, when passed packets had passed.
func (h *hearing) due(now time.Duration, passed uint64) bool {
	if now < h.at {
		return false
	}
	h.pause = min(2*max(h.pause, hearSoon/2), hearMost)
	h.at = now + max(h.pause, h.rest)
	moved := passed != h.passed
	h.passed = passed
	return moved
}

// listens reports whether the node has to know where peers are heard.
func (n *Node) listens() (c caller, ok bool) {
	c, ok = n.plane.(caller)
	return c, ok && n.journal != nil
}

// listenAround notes where peers are heard, when that is due.
func (n *Node) listenAround() {
	c, ok := n.listens()
	if !ok {
		return
	}
	forwarded, echoes := n.plane.Passed()
	n.mu.Lock()
	due := n.hearing.due(n.clock().mono, forwarded+echoes)
	n.mu.Unlock()
	if !due {
		return
	}
	began := time.Now()
	heard := c.Heard()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hearing.took(time.Since(began))
	for id, h := range n.sessions {
		at := make(map[keys.PublicKey]netip.AddrPort)
		for _, k := range keysOf(h.grant) {
			// A leg at a relay has another address after a restart, and is called itself.
			if a, ok := heard[k]; ok && !(n.legs.cfg != nil && a.Addr().IsLoopback()) {
				at[k] = a
			} else if a, ok := h.heard[k]; ok {
				at[k] = a
			}
		}
		if maps.Equal(at, h.heard) {
			continue
		}
		h.heard = at
		if b, err := json.Marshal(heardLine{at}); err == nil {
			n.journal.Set(heardMark+id, b)
		}
	}
}

// recallHeard takes a line of where a session's peers were heard.
func (n *Node) recallHeard(key string, value []byte) {
	h := n.sessions[strings.TrimPrefix(key, heardMark)]
	var l heardLine
	if err := strictjson.Unmarshal(value, &l); err != nil {
		n.cfg.Logger.Warn("not known where peers were heard", zap.String("session", key), zap.Error(err))
	}
	if h == nil {
		n.unwrite(key)
		return
	}
	h.heard = l.At
}

// callAll speaks to whoever was heard before; n.mu is held.
func (n *Node) callAll() {
	c, ok := n.plane.(caller)
	if !ok {
		return
	}
	for id, h := range n.sessions {
		for _, k := range keysOf(h.grant) {
			if a, ok := h.heard[k]; ok && a.IsValid() && a.Port() != 0 {
				c.Call(id, k, a)
			}
		}
	}
}
