// Package stun reads and writes the part of STUN (RFC 8489) that a Binding
// without credentials needs, with the attributes of RFC 5780. It is strict: what a
// datagram holds is one whole message or nothing. It leaves out sockets, time and
// MESSAGE-INTEGRITY.
package stun
