package control

import (
	"slices"
	"strings"

	"github.com/boothwire/boothwire/gateway/control/internal/machine"
	"github.com/boothwire/boothwire/gateway/control/internal/pool"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/internal/tally"
)

// Stats are a control's figures since Open. Those of the first group are of now.
type Stats struct {
	Devices   int                  // registered
	Strangers int                  // heard of, not registered
	Sessions  int                  // open
	States    map[string]int       // sessions about which something is left to be done, by state
	Nodes     int                  // connected
	NodeState map[string]int       // nodes, by state: connected, draining, disconnected, lost, claimed
	NodeLoads []NodeLoad           // by name, at most the first 200
	Waiting   int                  // commands that wait for a line
	Queued    int                  // devices that wait for their turn to be woken
	Moving    int                  // sessions on their way to another node
	Addresses map[string]Addresses // of the pool, by kind: device, operator, node

	Statuses   uint64            // received
	Refused    uint64            // of them, not believed
	RefusedBy  map[string]uint64 // of these, by code
	Replayed   uint64            // of them, seen before or overtaken
	Commands   uint64            // handed to a line
	SendFailed uint64            // of them, not taken by it
	Opened     uint64            // sessions
	Failed     uint64            // of them, ended for a fault
	FailedBy   map[string]uint64 // of these, by code
	Moved      uint64            // of them, to another node; one may be so often

	Wakes  map[Wake]Histogram // seconds from a session's first wake to its outcome
	Stages map[Rung]Histogram // seconds to each step of sessions that became ready, as their ladders count them
	Store  StoreStats

	NodePaths     PathTimes // of devices to nodes, as the devices say
	EndToEndPaths PathTimes // of devices to operators' own tools
}

// Histogram counts values by size.
type Histogram = tally.Histogram

// StoreStats are the figures of control's database.
type StoreStats = store.Stats

// Addresses are the tunnel addresses of one kind: in use, at rest, or free to be had.
type Addresses = pool.Usage

// NodeLoad is how one node is.
type NodeLoad struct {
	Name      string
	Connected bool
	Draining  bool
	Sessions  int // open
}

// maxLoads bounds the nodes that are told apart.
const maxLoads = 200

// Stats is a snapshot of the figures.
func (c *Control) Stats() Stats {
	s := Stats{
		Statuses: c.counts.statuses.Load(), Refused: c.counts.refused.Load(), Replayed: c.counts.replayed.Load(),
		Commands: c.counts.sent.Load(), SendFailed: c.counts.sendFailed.Load(),
		Opened: c.counts.opened.Load(), Moved: c.counts.moved.Load(), Failed: c.counts.failed.Load(),
		NodePaths: c.counts.nodeSpent.sum(), EndToEndPaths: c.counts.alone.sum(),
		States:    map[string]int{},
		Addresses: map[string]Addresses{},
		NodeState: map[string]int{"connected": 0, "draining": 0, "disconnected": 0, "lost": 0, "claimed": 0},
		Store:     c.store.Stats(), Waiting: c.couriers.waiting(),
	}
	for _, state := range machine.States {
		s.States[string(state)] = 0
	}
	c.figures.into(&s)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	for _, kind := range []pool.Kind{pool.Device, pool.Operator, pool.Node} {
		s.Addresses[string(kind)] = c.pool.Usage(kind, now)
	}
	s.Devices, s.Strangers = len(c.devices), c.strangers.len()
	for _, v := range c.sessions {
		s.States[string(v.m.State)]++
		if !v.m.Ended() {
			s.Sessions++
		}
		if v.m.Moving() {
			s.Moving++
		}
	}
	for _, n := range c.nodes {
		s.add(n)
	}
	slices.SortFunc(s.NodeLoads, func(a, b NodeLoad) int { return strings.Compare(a.Name, b.Name) })
	s.NodeLoads = s.NodeLoads[:min(len(s.NodeLoads), maxLoads)]
	return s
}

func (s *Stats) add(n *node) {
	if n.gate != nil {
		s.Queued += n.gate.queue.Len()
	}
	v := n.show()
	l := NodeLoad{Name: v.Name, Connected: n.link != nil, Draining: v.Draining, Sessions: v.Sessions}
	s.NodeLoads = append(s.NodeLoads, l)
	if !l.Connected {
		s.NodeState[v.State]++
		return
	}
	s.Nodes++
	if l.Draining {
		s.NodeState["draining"]++
	} else {
		s.NodeState[v.State]++
	}
}
