package control

import (
	"cmp"
	"context"
	"time"

	"github.com/boothwire/boothwire/internal/health"
)

// readyTimeout is how long the database may take to answer who asks for health.
const readyTimeout = 2 * time.Second

// Health is whether a control can take work, and why it cannot.
type Health = health.Report

// Health is what /readyz says. A line that is down only limits: devices that poll are
// reached by this control's address, and sessions have to be closed above all then.
func (c *Control) Health(ctx context.Context) (r Health) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.cfg.ready, readyTimeout))
	defer cancel()
	if c.ctx.Err() != nil {
		r.Refuse("control", "it ends")
		return r
	}
	if _, err := c.store.LastAudit(ctx); err != nil {
		r.Refuse("store", "it does not answer")
	} else if c.store.Stats().Broken {
		r.Refuse("store", "it takes no writes")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lines == nil {
		r.Refuse("lines", "none is served")
	}
	for _, l := range c.lines {
		if up, ok := l.(interface{ Up() bool }); ok && !up.Up() {
			r.Limit("line", "it is not connected")
		}
	}
	if !c.anyNode() {
		r.Limit("nodes", "none takes sessions")
	}
	return r
}

// Ready implements api.Backend.
func (b backend) Ready(ctx context.Context) health.Report { return b.c.Health(ctx) }

// anyNode reports whether a node takes new sessions; mu is held.
func (c *Control) anyNode() bool {
	for _, n := range c.nodes {
		if n.link != nil && !n.row.Draining {
			return true
		}
	}
	return false
}
