// Package control is the back end that opens sessions: it knows the fleet's
// devices, its nodes and users, decides, signs grants and writes down what
// happened. It offers one API, HTTP, to consoles, programs and, through Client, to
// the process that embeds it. It carries no packets and links no data plane.
//
// What happens when an engineer asks for a session:
//
//	engineer         control                       node            device
//	   │ POST sessions  │                            │                │
//	   │ ──────────────►│ may he? one-time key, sign │                │
//	   │                │ ── grant ─────────────────►│ verify, add    │
//	   │                │ ◄───────────── installed ──│ peers          │
//	   │ ◄── grant ─────│ ── vpn_up with the grant ──────────────────►│ verify
//	   │                │                            │ ◄─ handshake ──│
//	   │                │ ◄──────── proved ──────────│                │
//	   │ ◄── connected ─│ ◄──────────────── ready ────────────────────│
//
// An end-to-end session has no node: the far end of its grant is the operator's own
// tool. Control passes sealed candidates on between the two, renews the short grant
// while the tool asks for it, and names relays, which hear from it what is over.
//
// Devices are believed by the identity key under which they were registered, never
// by where a message came from. Nodes are known by the key of their certificate,
// which enrolment with a one-time claim pinned; see the wire in nodewire.go.
package control
