package control

import (
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/internal/machine"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
)

const (
	// beatEvery is how often a node says something, though it has nothing to say.
	beatEvery = 5 * time.Second
	// lostAfter is how long a node may be silent before its sessions go elsewhere.
	lostAfter = 3 * beatEvery
	// lateAfter is how long before new ones do.
	lateAfter = 2 * beatEvery

	lookEvery = 250 * time.Millisecond
	// What a look has moved at most: 400 a second of a lost node, so that a thousand are
	// on their way in 3 s, at the pace at which their devices are woken; 100 of one that
	// drains, whose sessions are in no hurry.
	lossAtOnce  = 100
	drainAtOnce = 25
)

// pulse is when a node was heard; Control.mu guards it.
type pulse struct {
	heard time.Time // by this process; zero: never
	beats bool      // it says something each beatEvery, so that silence means something
	lost  bool
}

// silent is how long nothing was heard of n. since is when this process began to
// listen: a node has its whole time from then on, and from when control itself was
// held up.
func (n *node) silent(now, since time.Time) time.Duration {
	if n.link != nil && !n.beats {
		return 0
	}
	if n.heard.After(since) {
		since = n.heard
	}
	return now.Sub(since)
}

// hear takes note of a sign of life; mu is held.
func (c *Control) hear(n *node, now time.Time) {
	n.row.Seen, n.heard = now, now
	if n.lost {
		n.lost = false
		c.log.Info("node is back", zap.String("node", n.row.Name))
	}
}

// watchNodes looks after the nodes until control closes.
func (c *Control) watchNodes() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for last := c.cfg.Now(); ; {
		select {
		case <-c.ctx.Done():
			return
		case <-ticker.C:
		}
		c.mu.Lock()
		now := c.cfg.Now()
		if now.Sub(last) > beatEvery {
			c.since = now // what was said meanwhile waits to be read
		}
		last = now
		c.lookAfter(now)
		c.mu.Unlock()
	}
}

// lookAfter finds the nodes that are lost, and moves on what has to leave its node.
func (c *Control) lookAfter(now time.Time) {
	if c.shut || c.lines == nil || !c.leads() {
		return // nobody could tell the devices
	}
	for _, n := range c.nodes {
		if !n.lost && !n.identity.IsZero() && n.silent(now, c.since) > lostAfter {
			n.lost = true
			c.note(store.Audit{Who: n.row.Name, What: auditLost, Node: n.row.Name, Detail: itoa(len(n.live)) + " sessions"})
			c.log.Warn("node is lost", zap.String("node", n.row.Name), zap.Int("sessions", len(n.live)))
		}
		switch {
		case n.lost:
			c.evacuate(n, lossAtOnce, now)
		case n.row.Moving:
			c.evacuate(n, drainAtOnce, now)
		}
	}
}

// evacuate moves up to most sessions of n to other nodes, in no order. Those that no
// other node takes stay as they are.
func (c *Control) evacuate(n *node, most int, now time.Time) {
	for _, s := range n.live {
		if most == 0 {
			return
		}
		if !s.movable(now) || !n.lost && !s.settled() {
			continue
		}
		if to := c.best(s.dev, now, n); to != nil {
			c.move(s, to)
			most--
		} else {
			s.moveAt = now.Add(moveAgain)
		}
	}
}

// settled reports whether s is at its node, and neither on its way nor about to be.
func (s *session) settled() bool {
	return (s.m.State == machine.Connected || s.m.State == machine.Degraded) && !s.m.Moving()
}
