// Package leg joins a peer that has no UDP to the node: it takes that peer's packets
// from a relay and brings them to the node's own UDP port, each leg from a loopback
// address of its own. So it works with any data plane: WireGuard sees one more
// address that its peer roams to. It knows nothing of tokens and sessions.
package leg
