// Package adapter makes a network interface of the system's for a tunnel: the
// tunnel's own addresses on it, a host route through it to each address of the
// far side, nothing wider, no DNS. The interface lives as long as its Adapter:
// when that is closed, or the process dies, the system takes interface,
// addresses and routes away together.
package adapter

import "errors"

// ErrOverlap is in the error of Create when an address of the tunnel is in use
// on this host already, or a route other than the default one leads to it.
var ErrOverlap = errors.New("address in use on this host")
