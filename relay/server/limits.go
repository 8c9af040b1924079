package server

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// A door counts those that must not take the place of others, connections that have
// not proved anything before all, in all and from one address. Those from no address,
// in the relay's own process, are counted in all alone.
type door struct {
	max, perIP int

	mu   sync.Mutex
	open int
	from map[netip.Prefix]int
}

// enter reports whether one more from addr is let in.
func (d *door) enter(from netip.Prefix) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.max || from.IsValid() && d.from[from] >= d.perIP {
		return false
	}
	if d.from == nil {
		d.from = make(map[netip.Prefix]int)
	}
	d.open++
	d.from[from]++
	return true
}

// full reports whether one more from there is refused for want of places in all, and
// not of those that one address gets.
func (d *door) full(from netip.Prefix) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open >= d.max && !(from.IsValid() && d.from[from] >= d.perIP)
}

func (d *door) leave(from netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	if d.from[from]--; d.from[from] <= 0 {
		delete(d.from, from)
	}
}

func (d *door) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// source is whom an address belongs to: an IPv6 host has a whole /64. It is the zero
// Prefix for a pipe's, which is no address.
func source(a net.Addr) netip.Prefix {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	bits := 32
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}

// counted is a connection that is in the hall until it has proved its key.
type counted struct {
	net.Conn
	leave func()
	in    atomic.Pointer[gate] // that it has a place in
	asked atomic.Bool          // it became a leg that has to prove its key
}

func (c *counted) Close() error {
	c.leave()
	c.computed()
	return c.Conn.Close()
}

// Write ends the first stretch of a handshake that costs something.
func (c *counted) Write(b []byte) (int, error) {
	c.computed()
	return c.Conn.Write(b)
}

func (c *counted) computed() {
	if c.in.Load() == nil {
		return
	}
	if g := c.in.Swap(nil); g != nil {
		<-g.places
	}
}

// NetConn is for what wants the TCP connection.
func (c *counted) NetConn() net.Conn { return c.Conn }
