// Package mux shares one UDP socket among ICE agents and STUN queries of our own.
// It is an ice.UniversalUDPMux that knows no remote addresses: a request belongs
// to the agent whose username fragment it names, a response to whoever sent the
// transaction that it answers. So several agents can talk to one remote address,
// as an old and a new one do when a path is looked for again.
//
// It reads the socket until Close, which leaves the socket open and usable.
package mux
