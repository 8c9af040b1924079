package booth

import (
	"net"
	"sync/atomic"
)

// A Router stands for a shop's: all of the booth's UDP passes it, or none. TCP does
// always. The zero Router lets UDP pass.
type Router struct {
	shut    atomic.Bool
	dropped atomic.Int64
}

// Shut drops UDP, both ways, from here on.
func (r *Router) Shut() { r.shut.Store(true) }

// Open lets UDP pass again.
func (r *Router) Open() { r.shut.Store(false) }

// Dropped is how many packets were.
func (r *Router) Dropped() int64 { return r.dropped.Load() }

// Socket opens a UDP socket of the booth on loopback, behind the router.
func (r *Router) Socket() (net.PacketConn, error) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &routed{c, r}, nil
}

// drops reports whether a packet does not pass.
func (r *Router) drops() bool {
	if r.shut.Load() {
		r.dropped.Add(1)
		return true
	}
	return false
}

type routed struct {
	net.PacketConn
	r *Router
}

func (c *routed) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(p)
		if err != nil || !c.r.drops() {
			return n, from, err
		}
	}
}

func (c *routed) WriteTo(p []byte, to net.Addr) (int, error) {
	if c.r.drops() {
		return len(p), nil
	}
	return c.PacketConn.WriteTo(p, to)
}
