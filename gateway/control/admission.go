package control

import (
	"slices"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/admission"
)

// gate is where devices wait for their turn to shake hands with one node; Control.mu
// guards it.
type gate struct {
	queue *admission.Queue
	timer *time.Timer
	told  time.Time // when those who wait were told their places last
}

const (
	// gateEvery is how often a gate opens at most: a few go at each time.
	gateEvery = 10 * time.Millisecond
	// tellPlaces is how often those who wait are told their places.
	tellPlaces = 2 * time.Second
)

// admit lets the device of s be woken, or wait for its turn; mu is held.
func (c *Control) admit(s *session, now time.Time) {
	n := s.node
	if c.cfg.Wakes < 0 || n == nil {
		s.m.Admitted(now)
		return
	}
	g := n.gate
	if g == nil {
		g = &gate{queue: admission.New(c.cfg.Wakes, now)}
		g.timer = time.AfterFunc(time.Hour, func() { c.openGate(n) })
		g.timer.Stop()
		n.gate = g
	}
	if g.queue.Ask(now, c.wakeOf(s)) {
		c.depart(s, g, now)
		return
	}
	if s.waits != g {
		s.waits = g
		s.own(client.ByControl, client.StageWaiting, now)
	}
	c.armGate(g, now)
}

// wakeOf says how urgent the wake of s is.
func (c *Control) wakeOf(s *session) admission.Wake {
	w := admission.Wake{ID: s.id, User: s.user.Name, From: s.dev.from}
	switch {
	case s.batch, slices.ContainsFunc(s.former, func(n *node) bool { return n.row.Moving && !n.lost }):
		w.Class = admission.Batch
	case s.m.Woken:
		w.Class = admission.Moved
	}
	return w
}

// leave takes s out of where it waits; mu is held.
func (c *Control) leave(s *session) {
	if s.waits != nil {
		s.waits.queue.Leave(s.id)
		s.waits = nil
	}
}

// depart lets the device of s be woken now; mu is held.
func (c *Control) depart(s *session, g *gate, now time.Time) {
	if s.goes != g {
		c.arrive(s, now)
	}
	s.goes = g
	s.m.Admitted(now)
}

// arrive makes room for others, when the device of s has shaken hands or never will;
// mu is held.
func (c *Control) arrive(s *session, now time.Time) {
	if g := s.goes; g != nil {
		s.goes = nil
		g.queue.Arrived(s.id)
		c.armGate(g, now)
	}
}

// armGate sets the timer of g to who goes next.
func (c *Control) armGate(g *gate, now time.Time) {
	at := g.queue.Next(now)
	if at.IsZero() || c.shut {
		g.timer.Stop()
		return
	}
	g.timer.Reset(max(at.Sub(now), gateEvery))
}

// openGate lets those go whose turn it is.
func (c *Control) openGate(n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut {
		return
	}
	g, now := n.gate, c.cfg.Now()
	for _, id := range g.queue.Due(now) {
		if s := c.sessions[id]; s != nil && s.waits == g {
			s.waits = nil
			c.depart(s, g, now)
			c.act(s, now)
		}
	}
	if now.Sub(g.told) >= tellPlaces {
		g.told = now
		g.queue.Number(func(id string) {
			if s := c.sessions[id]; s != nil {
				s.tell()
			}
		})
	}
	c.armGate(g, now)
}

// waiting is the place of s, nil when it does not wait.
func (s *session) waiting() *client.Waiting {
	if s.waits == nil {
		return nil
	}
	position, wait, ok := s.waits.queue.Place(s.id)
	if !ok {
		return nil
	}
	return &client.Waiting{Position: position, For: client.Micros(wait.Microseconds())}
}
