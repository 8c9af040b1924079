package bind

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

// NewPacketConn returns a Bind over a caller's socket, which one tunnel has for
// itself: it reads all of it. Packets go one by one. The socket's read deadline
// is the Bind's, and must work; Close of the Bind leaves the socket open, which
// the caller closes after it.
func NewPacketConn(pc net.PacketConn, cfg Config) *Bind {
	return New(&packetBind{conn: pc}, cfg)
}

// A packetBind is a conn.Bind over a net.PacketConn.
type packetBind struct {
	conn net.PacketConn
	mu   sync.Mutex
	open *atomic.Bool // of the present Open; nil: none
}

// addrPortConn is what a *net.UDPConn can do without allocating.
type addrPortConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
}

// Open ignores the port: the socket has one.
func (b *packetBind) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	if err := b.conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, 0, err
	}
	b.open = new(atomic.Bool)
	b.open.Store(true)
	addr, _ := netip.ParseAddrPort(b.conn.LocalAddr().String())
	r := &packetReceiver{conn: b.conn, open: b.open}
	return []conn.ReceiveFunc{r.receive}, addr.Port(), nil
}

// Close unblocks the receiver by a deadline, so that the socket lives on.
func (b *packetBind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		return nil
	}
	b.open.Store(false)
	b.open = nil
	if err := b.conn.SetReadDeadline(time.Unix(1, 0)); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// A packetReceiver reads the socket during one Open.
type packetReceiver struct {
	conn net.PacketConn
	open *atomic.Bool
	last *conn.StdNetEndpoint // of the newest packet, reused while it fits
}

func (r *packetReceiver) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	n, from, err := r.read(bufs[0])
	if !r.open.Load() {
		return 0, net.ErrClosed
	}
	if err != nil {
		return 0, err
	}
	if r.last == nil || r.last.AddrPort != from {
		r.last = &conn.StdNetEndpoint{AddrPort: from}
	}
	sizes[0], eps[0] = n, r.last
	return 1, nil
}

func (r *packetReceiver) read(buf []byte) (int, netip.AddrPort, error) {
	if c, ok := r.conn.(addrPortConn); ok {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		return n, unmap(from), err
	}
	n, addr, err := r.conn.ReadFrom(buf)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	from, err := destination(addr)
	return n, from, err
}

func (b *packetBind) Send(bufs [][]byte, ep conn.Endpoint) error {
	e, ok := ep.(*conn.StdNetEndpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	for _, buf := range bufs {
		var err error
		if c, ok := b.conn.(addrPortConn); ok {
			_, err = c.WriteToUDPAddrPort(buf, e.AddrPort)
		} else {
			_, err = b.conn.WriteTo(buf, net.UDPAddrFromAddrPort(e.AddrPort))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *packetBind) ParseEndpoint(s string) (conn.Endpoint, error) {
	addr, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return &conn.StdNetEndpoint{AddrPort: unmap(addr)}, nil
}

// SetMark cannot mark a socket that may be anything.
func (b *packetBind) SetMark(mark uint32) error {
	if mark == 0 {
		return nil
	}
	return fmt.Errorf("bind: mark of a caller's socket: %w", errors.ErrUnsupported)
}

func (b *packetBind) BatchSize() int { return 1 }
