// Package gateway is one node: the machine where the tunnels of devices and
// operators end, and which lets an operator reach the granted ports of the
// granted device and nothing else. A node keeps no truth: it follows grants, each
// verified by the node itself against its roots, its name, its key and its clock.
// It does not decide who may open a session, and peers come to it: it speaks first
// only when it was restarted, to those whom it spoke with before.
//
// The life of a session on a node:
//
//	grant -> installed -> handshake -> proved -> ... -> closed
//	           | higher rev: changed in place         | down, end of its grant,
//	           | lower rev: refused                   | or a rev for another node
package gateway
