package gateway

import (
	"maps"
	"net/netip"
	"slices"
)

// Stats are a node's figures since Open.
type Stats struct {
	Sessions  int               `json:"sessions"`          // in force
	Closed    int               `json:"closed"`            // over, and remembered until their end
	Peers     int               `json:"peers"`             // WireGuard peers of those in force
	Admitted  uint64            `json:"admitted"`          // grants put into force
	Refused   uint64            `json:"refused"`           // grants and downs refused
	Ended     uint64            `json:"ended"`             // sessions that are over
	Rx        uint64            `json:"rx"`                // bytes from devices
	Tx        uint64            `json:"tx"`                // bytes to devices
	Forwarded uint64            `json:"forwarded"`         // packets
	Echoes    uint64            `json:"echoes"`            // answered by the node itself
	Dropped   map[string]uint64 `json:"dropped"`           // packets, by reason
	Legs      int               `json:"legs,omitempty"`    // at relays, for peers without UDP
	Overlap   []netip.Prefix    `json:"overlap,omitempty"` // of the host's own addresses and routes, in the pool
}

// Stats returns the figures of now.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := Stats{
		Sessions: len(n.sessions), Closed: len(n.closed), Peers: len(n.addresses),
		Admitted: n.counts.admitted, Refused: n.counts.refused, Ended: n.counts.ended,
		Rx: n.counts.rx, Tx: n.counts.tx, Legs: n.legs.up(),
		Dropped: maps.Clone(n.plane.Drops()), Overlap: slices.Clone(n.hosts),
	}
	s.Forwarded, s.Echoes = n.plane.Passed()
	for id, h := range n.sessions {
		c := n.plane.Counters(id)
		s.Rx += c.Rx
		s.Tx += c.Tx
		s.Peers += 1 - len(h.grant.Addresses)
	}
	return s
}
