// Package nat finds a direct path between two hosts that are each behind a NAT: ICE
// (RFC 8445) over a net.PacketConn that the caller goes on using, with offers that the
// caller carries and only the two ends can read. It leaves out what travels on the path:
// that goes out of the caller's own socket.
//
// Beside it is what a path depends on: a STUN server (ServeSTUN), what the network
// does to a socket's packets (Probe), and how often a NAT must be reminded of them
// (Keepalive).
//
// # Delayed responses
//
// The server knows one attribute of our own, DELAYED-RESPONSE (0xC257, four bytes: a
// delay of 1 to 300,000 ms). A Binding response to a request that has it is held
// back for so long, and carries it; so it arrives only if the NAT's binding was kept
// until then, which takes one packet each way. If too many wait, 4,096 or 16 of
// one source, it is sent at once with delay 0; a server that does not know the
// attribute answers at once without it (RFC 8489, section 14).
package nat
