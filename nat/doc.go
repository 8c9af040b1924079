// Package nat finds a direct path between two hosts that are each behind a NAT: ICE
// (RFC 8445) over a net.PacketConn that the caller goes on using, with offers that the
// caller carries and only the two ends can read. It leaves out what travels on the path:
// that goes out of the caller's own socket.
package nat
