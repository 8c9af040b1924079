package control

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/boothwire/boothwire/gateway/control/internal/machine"
	"github.com/boothwire/boothwire/gateway/control/internal/place"
)

// standing is how a node is and what it can take; Control.mu guards it.
type standing struct {
	pulse
	region   string
	capacity int                 // sessions, as it says; 0: it does not
	live     map[string]*session // of its sessions, those that are not over
	coming   int                 // that are about to move here
	gate     *gate               // where wakes wait; nil: none ever did
	full     time.Time           // it refused a session as one too many; none goes there before

	reporting chan struct{} // of one: whoever has it reads a report
	follows   allowance     // of beginning to follow: each time it is told all
}

func newStanding() standing {
	return standing{live: make(map[string]*session), reporting: make(chan struct{}, 1)}
}

const (
	// defaultCapacity is what a node may hold that does not say.
	defaultCapacity = 10_000
	// fullFor is how long a node that refused a session as one too many gets no other.
	fullFor = 30 * time.Second
	// A node whose process begins again and again follows once a second at most.
	followsBurst = 16
	followsRate  = 1
)

// take makes s one of n's sessions; mu is held.
func (n *node) take(s *session) {
	n.sessions[s.id] = s
	if !s.m.Ended() {
		n.live[s.id] = s
	}
}

// drop is its reverse.
func (n *node) drop(s *session) {
	delete(n.sessions, s.id)
	delete(n.live, s.id)
}

// reachable reports whether a session could go to n: it follows and says where it is.
func (n *node) reachable() bool { return n.link != nil && len(n.endpoints) > 0 }

// takes reports whether n takes sessions now.
func (n *node) takes(now time.Time) bool {
	late := n.beats && now.Sub(n.heard) > lateAfter
	return n.reachable() && !n.row.Draining && !n.lost && !late && !now.Before(n.full)
}

// choose returns the named node, or the one that suits d best; mu is held.
func (c *Control) choose(d *device, name string) (*node, error) {
	if name != "" {
		n := c.nodes[name]
		switch {
		case n == nil:
			return nil, fail(http.StatusNotFound, "unknown_node", "no such node")
		case !n.reachable():
			return nil, fail(http.StatusServiceUnavailable, machine.CodeNodeUnreachable, "the node is not connected")
		}
		return n, nil
	}
	if n := c.best(d, c.cfg.Now()); n != nil {
		return n, nil
	}
	for _, n := range c.nodes {
		if n.reachable() && !n.row.Draining {
			return nil, fail(http.StatusServiceUnavailable, codeFull, "no node has room for another session")
		}
	}
	return nil, fail(http.StatusServiceUnavailable, machine.CodeNodeUnreachable, "no node is connected")
}

// expectFor is how long a session waits for nodes that are on their way to a control
// which has just begun to listen.
const expectFor = machine.InstallFor

// awaitNode has try place a session, and again while it found no node but one may come
// yet. ctx bounds it.
func (c *Control) awaitNode(ctx context.Context, try func() error) error {
	for range expectFor / lookEvery {
		err := try()
		if codeOf(err, "") != machine.CodeNodeUnreachable || !c.expects() {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(lookEvery):
		}
	}
	return try()
}

// expects reports whether a node may be on its way: it was not heard since control
// began to listen, a moment ago.
func (c *Control) expects() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg.Now().Sub(c.since) >= expectFor {
		return false
	}
	for _, n := range c.nodes {
		if !n.identity.IsZero() && n.heard.Before(c.since) {
			return true
		}
	}
	return false
}

// codeFull is the code of a session for which no node has room.
const codeFull = "nodes_full"

// best is the node that suits d best and is none of those to be left; nil: there is
// none. mu is held.
func (c *Control) best(d *device, now time.Time, left ...*node) *node {
	var list []place.Node
	for _, n := range c.nodes {
		if slices.Contains(left, n) || !n.takes(now) {
			continue
		}
		v := place.Node{Name: n.row.Name, Region: n.region, Capacity: n.capacity, Load: len(n.live) + n.coming}
		if v.Capacity == 0 {
			v.Capacity = defaultCapacity
		}
		list = append(list, v)
	}
	name, ok := place.Choose(list, place.Want{Device: d.row.ID, Region: c.regionOf(d), Last: d.last})
	if !ok {
		return nil
	}
	return c.nodes[name]
}

// regionOf is the region of d's group, or the group itself.
func (c *Control) regionOf(d *device) string {
	if r, ok := c.cfg.Regions[d.row.Group]; ok {
		return r
	}
	return d.row.Group
}

// counters are a node's of one session.
type counters struct{ rx, tx uint64 }

// count adds what a node counted since it said so last. One that has begun again
// counts from nothing; of a session that control found in its database it is not
// known how much of it this node had said.
func (s *session) count(n *node, rx, tx uint64) {
	last, known := s.counted[n.row.Name]
	if !known && s.rx+s.tx > 0 {
		last = counters{min(s.rx, rx), min(s.tx, tx)}
	}
	s.rx, s.tx = added(s.rx, last.rx, rx), added(s.tx, last.tx, tx)
	if s.counted == nil {
		s.counted = make(map[string]counters)
	}
	s.counted[n.row.Name] = counters{rx, tx}
}

// countsAnew takes note that a node counts s from nothing.
func (s *session) countsAnew(n *node) {
	if s.counted == nil {
		s.counted = make(map[string]counters)
	}
	s.counted[n.row.Name] = counters{}
}

// maxBytes is how far the database counts.
const maxBytes = 1<<63 - 1

func added(sum, last, now uint64) uint64 {
	if now < last {
		last = 0
	}
	return min(sum+min(now-last, maxBytes-sum), maxBytes)
}
