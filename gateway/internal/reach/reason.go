package reach

import "sync/atomic"

// Reason says why a packet was dropped; Pass and Answer are no drops.
type Reason uint8

// The verdicts of a Table, and the reasons that a data plane adds around it.
const (
	Pass               Reason = iota // goes to the other end
	Answer                           // is an echo request to the node: reply to its sender
	Malformed                        // no whole IP packet, or a header cut short
	Fragment                         // any fragment, the first included
	Options                          // IPv4 options
	Oversized                        // longer than the MTU
	UnknownSource                    // from no member of a session
	UnknownDestination               // to no member of a session
	Isolated                         // between two sessions, or two ends of one kind
	Expired                          // after the session's end
	PortNotGranted                   // operator to a port that is not his
	NoFlow                           // device to operator, and he did not begin it
	Protocol                         // neither TCP, UDP nor an echo
	ProofOnly                        // to the node, and no echo request
	Flags                            // TCP flags that no honest stack sends together
	HopLimit                         // the hop limit ran out
	QueueFull                        // too much waited for the line or the encryption
	QueueLate                        // its flow has waited for the line for too long
	Spoofed                          // a source address that is not its peer's
	Reasons                          // how many there are
)

var reasonNames = [Reasons]string{
	"pass", "answer", "malformed", "fragment", "options", "oversized", "unknown_source",
	"unknown_destination", "isolated", "expired", "port_not_granted", "no_flow",
	"protocol", "proof_only", "tcp_flags", "hop_limit", "queue_full", "queue_late", "spoofed",
}

// String is the word for r in statistics and logs.
func (r Reason) String() string {
	if r < Reasons {
		return reasonNames[r]
	}
	return "unknown"
}

// Tally counts packets by verdict; its zero value is ready, and it is safe for
// concurrent use.
type Tally struct{ counts [Reasons]atomic.Uint64 }

// Add counts n packets of r.
func (t *Tally) Add(r Reason, n uint64) { t.counts[r].Add(n) }

// Count returns how many packets of r there were.
func (t *Tally) Count(r Reason) uint64 { return t.counts[r].Load() }

// Drops returns every reason that dropped something, by its word.
func (t *Tally) Drops() map[string]uint64 {
	m := make(map[string]uint64)
	for r := Malformed; r < Reasons; r++ {
		if n := t.Count(r); n > 0 {
			m[r.String()] = n
		}
	}
	return m
}
