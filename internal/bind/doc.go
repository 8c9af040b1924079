// Package bind is the conn.Bind under a tunnel's WireGuard device. It wraps the
// one that WireGuard brings along, whose sockets, batches and offloads it leaves
// alone, and adds what a device behind a NAT needs:
//
//   - Every peer has one endpoint object for life, "peer:ID", whose path is
//     swapped at once and without WireGuard's knowledge. Packets from a peer's
//     known addresses carry that object. Packets from unknown addresses carry
//     what the inner Bind says, so that WireGuard roams by itself when a NAT
//     gives the peer a new address; the peer's path follows.
//   - STUN messages that arrive at the socket go to a net.PacketConn in memory,
//     whose writes leave by the same socket: ICE and WireGuard share one mapping.
//   - Handshake messages are kept while there is no path, held back where two
//     ends would begin at once, and repeated while unanswered (see handshake).
//     WireGuard alone takes five seconds for each of these.
//   - Packets of a peer may come and go by a stream, such as a leg at a relay, in
//     place of the socket or beside it (see Peer.AddStream).
//   - Of two copies of a handshake message, such as come by two legs, the device
//     gets one: WireGuard alone may take both (see copies).
//   - A receive error does not end the receiver.
//
// It leaves out how a path is found and when it is left: callers say SetRoutes.
//
// A caller's own socket may stand in for WireGuard's (NewPacketConn). Thousands
// of tunnels can share one socket if each is given a net.PacketConn by something
// that reads the socket, remembers the sender index of each tunnel's handshake
// messages and hands out what arrives by the receiver index, which stands in
// every message of WireGuard but the initiation.
package bind
