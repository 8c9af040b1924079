package bind

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/boothwire/boothwire/internal/deadline"
)

const (
	// divertedMost is how many datagrams wait to be read before the oldest is
	// dropped: ICE sends one each 20 ms or so, and a reader that sleeps 2 s sleeps
	// for ever.
	divertedMost = 128
	// divertedSize is the largest datagram that is kept: STUN's must fit a path's
	// MTU (RFC 8489, section 6.1).
	divertedSize = 1500
	// endpointsMost bounds the endpoints kept for writes.
	endpointsMost = 256
)

// A packetConn is what a Bind's socket receives beside WireGuard's packets.
type packetConn struct {
	bind  *Bind
	read  *deadline.Deadline
	write *deadline.Deadline
	done  chan struct{}
	ready chan struct{} // has a token when there may be something to read

	mu        sync.Mutex
	closed    bool
	ring      [divertedMost]datagram
	head, len int
	endpoints map[netip.AddrPort]conn.Endpoint
}

type datagram struct {
	data []byte
	from netip.AddrPort
}

var _ net.PacketConn = (*packetConn)(nil)

// PacketConn returns the Bind's socket as others see it: reads give the STUN
// messages that arrive, writes send whatever they are given. The same one is
// returned until it is closed, so that readers who share it must share out what
// they read. It ends with the Bind's Close; reads and writes then return
// net.ErrClosed. Its own Close does not close the socket. Datagrams that nobody
// reads are dropped, the oldest first.
func (b *Bind) PacketConn() net.PacketConn {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.diverted.Load()
	if c == nil || c.isClosed() {
		c = &packetConn{
			bind:      b,
			read:      deadline.New(),
			write:     deadline.New(),
			done:      make(chan struct{}),
			ready:     make(chan struct{}, 1),
			endpoints: make(map[netip.AddrPort]conn.Endpoint),
		}
		b.diverted.Store(c)
	}
	return c
}

// divert hands a datagram over, copied.
func (b *Bind) divert(data []byte, ep conn.Endpoint) {
	if c := b.diverted.Load(); c != nil && len(data) <= divertedSize {
		c.deliver(data, unmap(addrPortOf(ep)))
	}
}

func (c *packetConn) deliver(data []byte, from netip.AddrPort) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	if c.len == len(c.ring) {
		c.head = (c.head + 1) % len(c.ring)
		c.len--
	}
	slot := &c.ring[(c.head+c.len)%len(c.ring)]
	slot.data = append(slot.data[:0], data...)
	slot.from = from
	c.len++
	c.mu.Unlock()
	c.wake()
}

func (c *packetConn) wake() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// take moves the oldest datagram into p.
func (c *packetConn) take(p []byte) (n int, from netip.AddrPort, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.len == 0 {
		return 0, from, false
	}
	slot := &c.ring[c.head]
	n, from = copy(p, slot.data), slot.from
	c.head = (c.head + 1) % len(c.ring)
	if c.len--; c.len > 0 {
		c.wake() // for another reader
	}
	return n, from, true
}

// ReadFrom returns the oldest datagram, cut to p, and the *net.UDPAddr that it
// came from.
func (c *packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		select {
		case <-c.done:
			return 0, nil, c.error("read", net.ErrClosed)
		case <-c.read.Wait():
			return 0, nil, c.error("read", os.ErrDeadlineExceeded)
		default:
		}
		if n, from, ok := c.take(p); ok {
			return n, net.UDPAddrFromAddrPort(from), nil
		}
		select {
		case <-c.ready:
		case <-c.read.Wait():
		case <-c.done:
		}
	}
}

// WriteTo sends p to a *net.UDPAddr, or to any address whose text is IP and port.
func (c *packetConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	select {
	case <-c.done:
		return 0, c.error("write", net.ErrClosed)
	case <-c.write.Wait():
		return 0, c.error("write", os.ErrDeadlineExceeded)
	default:
	}
	to, err := destination(addr)
	if err != nil {
		return 0, c.error("write", err)
	}
	ep, err := c.endpoint(to)
	if err != nil {
		return 0, c.error("write", err)
	}
	// Without spare capacity, because an inner Bind may append to what it sends.
	if err := c.bind.inner.Send([][]byte{slices.Clip(p)}, ep); err != nil {
		return 0, c.error("write", err)
	}
	return len(p), nil
}

func destination(addr net.Addr) (netip.AddrPort, error) {
	var to netip.AddrPort
	var err error
	switch a := addr.(type) {
	case nil:
		err = errors.New("no address")
	case *net.UDPAddr:
		to = a.AddrPort()
	default:
		to, err = netip.ParseAddrPort(a.String())
	}
	if err == nil && !to.IsValid() {
		err = fmt.Errorf("no address: %v", addr)
	}
	return unmap(to), err
}

// endpoint returns the inner Bind's endpoint of an address, which may be costly
// to make.
func (c *packetConn) endpoint(to netip.AddrPort) (conn.Endpoint, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ep, ok := c.endpoints[to]; ok {
		return ep, nil
	}
	ep, err := c.bind.inner.ParseEndpoint(to.String())
	if err != nil {
		return nil, err
	}
	if len(c.endpoints) >= endpointsMost {
		clear(c.endpoints)
	}
	c.endpoints[to] = ep
	return ep, nil
}

// Close unblocks readers; the socket stays open.
func (c *packetConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		close(c.done)
		c.read.Set(time.Time{})
		c.write.Set(time.Time{})
	}
	return nil
}

func (c *packetConn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// LocalAddr returns the socket's address: [::] and its port unless the socket is
// a caller's.
func (c *packetConn) LocalAddr() net.Addr {
	if pc, ok := c.bind.inner.(*packetBind); ok {
		return pc.conn.LocalAddr()
	}
	return &net.UDPAddr{IP: net.IPv6unspecified, Port: int(c.bind.Port())}
}

// SetDeadline sets both deadlines.
func (c *packetConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline makes reads after t fail with os.ErrDeadlineExceeded, also
// those that wait now.
func (c *packetConn) SetReadDeadline(t time.Time) error { return c.setDeadline(c.read, t) }

// SetWriteDeadline makes writes after t fail. Writes do not wait.
func (c *packetConn) SetWriteDeadline(t time.Time) error { return c.setDeadline(c.write, t) }

func (c *packetConn) setDeadline(d *deadline.Deadline, t time.Time) error {
	if c.isClosed() {
		return c.error("set", net.ErrClosed)
	}
	d.Set(t)
	return nil
}

func (c *packetConn) error(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Err: err}
}
