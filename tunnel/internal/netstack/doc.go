// Package netstack is a TCP/IP host inside this process, behind a WireGuard
// tunnel: it needs no adapter and no rights. A Stack dials and listens at the
// tunnel's addresses and forwards what arrives for a granted port to a local
// service. Its Device is what wireguard-go reads and writes.
//
// It stands on gVisor's stack and uses a tun.Device of its own, because the one
// that wireguard-go ships hands over one packet at a time and can deadlock or
// panic when it is closed while a connection is being made.
//
// What TCP sends goes to the device in pieces of up to 60 KB, which a splitter cuts into
// the packets of a batch; segments that arrive in a batch and follow each other reach TCP
// as one. So the stack's work is done once for some 45 packets.
package netstack
