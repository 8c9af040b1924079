// Package netstack is a TCP/IP host inside this process, behind a WireGuard
// tunnel: it needs no adapter and no rights. A Stack dials and listens at the
// tunnel's addresses and forwards what arrives for a granted port to a local
// service. Its Device is what wireguard-go reads and writes.
//
// It stands on gVisor's stack and uses a tun.Device of its own, because the one
// that wireguard-go ships hands over one packet at a time and can deadlock or
// panic when it is closed while a connection is being made.
package netstack
