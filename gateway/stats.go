package gateway

import (
	"maps"
	"net/netip"
	"slices"
)

// counts are the node's own figures; its plane has those of packets.
type counts struct {
	admitted           uint64
	handshakes, proofs uint64
	restored           int               // from the journal
	refused, ended     map[string]uint64 // by code: a few words of ours
	rx, tx             uint64            // of sessions that are over
}

func newCounts() counts {
	return counts{refused: make(map[string]uint64), ended: make(map[string]uint64)}
}

// endedBy is the word under which a session that closed with code is counted.
func endedBy(code string) string {
	if code == "" {
		return "down"
	}
	return code
}

func total(by map[string]uint64) (n uint64) {
	for _, v := range by {
		n += v
	}
	return n
}

// Stats are a node's figures since Open.
type Stats struct {
	Sessions  int               `json:"sessions"`          // in force
	Closed    int               `json:"closed"`            // over, and remembered until their end
	Peers     int               `json:"peers"`             // WireGuard peers of those in force
	Admitted  uint64            `json:"admitted"`          // grants put into force
	Refused   uint64            `json:"refused"`           // grants and downs refused
	RefusedBy map[string]uint64 `json:"refused_by"`        // of them, by code
	Ended     uint64            `json:"ended"`             // sessions that are over
	EndedBy   map[string]uint64 `json:"ended_by"`          // of them, by code; "down": as control asked
	Shaken    uint64            `json:"shaken"`            // first handshakes of devices' keys
	Proved    uint64            `json:"proved"`            // first packets under devices' keys
	Restored  int               `json:"restored"`          // sessions that the journal had in force
	Rx        uint64            `json:"rx"`                // bytes from devices
	Tx        uint64            `json:"tx"`                // bytes to devices
	Forwarded uint64            `json:"forwarded"`         // packets
	Echoes    uint64            `json:"echoes"`            // answered by the node itself
	Dropped   map[string]uint64 `json:"dropped"`           // packets, by reason
	Reached   bool              `json:"-"`                 // control speaks to the node
	Waiting   int               `json:"waiting"`           // events for control that wait
	Lost      uint64            `json:"lost"`              // events for control that found no room
	Legs      int               `json:"legs,omitempty"`    // at relays, for peers without UDP
	Overlap   []netip.Prefix    `json:"overlap,omitempty"` // of the host's own addresses and routes, in the pool
	Journal   *Journal          `json:"journal,omitempty"` // nil: the node has none
}

// Journal is how what a node remembers over a restart is kept.
type Journal struct {
	Size   int64  `json:"size"`            // of the file, bytes
	Errors uint64 `json:"errors"`          // writes that failed
	Fault  string `json:"fault,omitempty"` // why the file is behind what it should say; empty: it is not
}

// Stats returns the figures of now.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := Stats{
		Sessions: len(n.sessions), Closed: len(n.closed), Peers: len(n.addresses),
		Admitted: n.counts.admitted, Refused: total(n.counts.refused), Ended: total(n.counts.ended),
		RefusedBy: maps.Clone(n.counts.refused), EndedBy: maps.Clone(n.counts.ended),
		Shaken: n.counts.handshakes, Proved: n.counts.proofs, Restored: n.counts.restored, Reached: n.reached,
		Rx: n.counts.rx, Tx: n.counts.tx, Legs: n.legs.up(),
		Dropped: maps.Clone(n.plane.Drops()), Overlap: slices.Clone(n.hosts),
	}
	s.Waiting, s.Lost = n.out.waiting()
	s.Forwarded, s.Echoes = n.plane.Passed()
	if n.journal != nil {
		j := n.journal.Stats()
		s.Journal = &Journal{Size: j.Size, Errors: j.Errors}
		if j.Fault != nil {
			s.Journal.Fault = j.Fault.Error()
		}
	}
	for id, h := range n.sessions {
		c := n.plane.Counters(id)
		s.Rx += c.Rx
		s.Tx += c.Tx
		s.Peers += 1 - len(h.grant.Addresses)
	}
	return s
}
