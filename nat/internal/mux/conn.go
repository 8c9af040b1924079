package mux

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/ice/v2"
	"github.com/pion/stun"
)

const (
	// queued datagrams wait for an agent: it holds them while it has not started,
	// and the far end may start first.
	queued = 64
	// remotesMost bounds the remote addresses of which a conn remembers anything.
	remotesMost = 64
)

// A conn is the socket as one candidate of an agent sees it.
type conn struct {
	mux   *Mux
	ufrag string
	local *net.UDPAddr
	ipv6  bool
	queue chan datagram
	done  chan struct{}
	once  sync.Once

	mu     sync.Mutex
	mapped map[netip.AddrPort]netip.AddrPort
}

type datagram struct {
	data []byte
	from netip.AddrPort
}

// GetConn returns the socket for one candidate of the agent with the given
// username fragment. Every call makes another one, so that closing one candidate
// does not end its siblings.
func (m *Mux) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	local, ok := addr.(*net.UDPAddr)
	if !ok {
		return nil, net.InvalidAddrError("not a UDP address")
	}
	c := &conn{
		mux:    m,
		ufrag:  ufrag,
		local:  local,
		ipv6:   local.IP.To4() == nil,
		queue:  make(chan datagram, queued),
		done:   make(chan struct{}),
		mapped: make(map[netip.AddrPort]netip.AddrPort),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shut {
		return nil, net.ErrClosed
	}
	m.conns[ufrag] = append(m.conns[ufrag], c)
	return c, nil
}

// GetConnForURL is GetConn: a request is for an agent, whatever server a
// candidate was learned from.
func (m *Mux) GetConnForURL(ufrag, _ string, addr net.Addr) (net.PacketConn, error) {
	return m.GetConn(ufrag, addr)
}

// RemoveConnByUfrag makes the conns of an agent hear nothing more. The agent
// closes them itself.
func (m *Mux) RemoveConnByUfrag(ufrag string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns[ufrag] {
		m.sent.drop(c)
	}
	delete(m.conns, ufrag)
}

// Mapped returns how remote sees this end, by its newest answer to the agent
// with the given fragment. It is as good as the network between: the answer's
// integrity is the agent's to check.
func (m *Mux) Mapped(ufrag string, remote netip.AddrPort) (netip.AddrPort, bool) {
	m.mu.Lock()
	conns := slices.Clone(m.conns[ufrag])
	m.mu.Unlock()
	for _, c := range conns {
		c.mu.Lock()
		a, ok := c.mapped[remote]
		c.mu.Unlock()
		if ok {
			return a, true
		}
	}
	return netip.AddrPort{}, false
}

// learn keeps the mapped address of an answer.
func (c *conn) learn(msg *stun.Message, from netip.AddrPort) {
	a, ok := mappedAddr(msg)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.mapped[from]; known || len(c.mapped) < remotesMost {
		c.mapped[from] = a
	}
}

// deliver queues a copy of data, and drops the oldest datagram when there is no
// room.
func (c *conn) deliver(data []byte, from netip.AddrPort) {
	c.mux.mu.Lock()
	c.mux.targets.hear(from, time.Now())
	c.mux.mu.Unlock()
	d := datagram{slices.Clone(data), from}
	for {
		select {
		case c.queue <- d:
			return
		default:
		}
		select {
		case <-c.queue:
		default:
		}
	}
}

// ReadFrom returns the next datagram for the candidate, until Close.
func (c *conn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case <-c.done:
		return 0, nil, net.ErrClosed
	case d := <-c.queue:
		return copy(p, d.data), net.UDPAddrFromAddrPort(d.from), nil
	}
}

// WriteTo sends p, and notes a request so that its answer comes back here.
func (c *conn) WriteTo(p []byte, addr net.Addr) (int, error) {
	select {
	case <-c.done:
		return 0, io.ErrClosedPipe // what pion takes for the end
	default:
	}
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("not a UDP address")
	}
	if x, ok := request(p); ok {
		c.mux.mu.Lock()
		may := c.mux.targets.may(unmap(to.AddrPort()), time.Now())
		if may {
			c.mux.sent.add(x, c)
		}
		c.mux.mu.Unlock()
		if !may {
			return len(p), nil
		}
	}
	if err := c.mux.write(slices.Clone(p), unmap(to.AddrPort())); err != nil {
		return 0, err
	}
	return len(p), nil
}

// request returns the transaction id of a request.
func request(p []byte) (x id, ok bool) {
	if !stun.IsMessage(p) || p[0]&1 != 0 || p[1]&0x10 != 0 {
		return x, false
	}
	copy(x[:], p[8:20])
	return x, true
}

// Close ends reads; the socket stays open.
func (c *conn) Close() error {
	c.end()
	m := c.mux
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent.drop(c)
	rest := slices.DeleteFunc(m.conns[c.ufrag], func(o *conn) bool { return o == c })
	if len(rest) == 0 {
		delete(m.conns, c.ufrag)
	} else {
		m.conns[c.ufrag] = rest
	}
	return nil
}

func (c *conn) end() { c.once.Do(func() { close(c.done) }) }

// LocalAddr returns the candidate's own address.
func (c *conn) LocalAddr() net.Addr { return c.local }

// SetDeadline does nothing: an agent sets one only to close the conn at once.
func (c *conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: writes do not wait.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// Base is m with one address for each family. All that an agent sends leaves by
// one socket, so candidates that differ in the local address alone would send
// every check once more, the same packet to the same place.
func (m *Mux) Base() ice.UDPMux { return base{m} }

type base struct{ *Mux }

// GetListenAddresses returns the first address of each family. A socket that has
// none, because the system does not tell, can send all the same.
func (b base) GetListenAddresses() []net.Addr {
	var list []net.Addr
	var v4, v6 bool
	for _, a := range b.Addresses() {
		if seen := &v4; a.Addr().Is4() {
			if *seen {
				continue
			}
			*seen = true
		} else if v6 {
			continue
		} else {
			v6 = true
		}
		list = append(list, net.UDPAddrFromAddrPort(a))
	}
	if own := b.local; len(list) == 0 && own.Addr().IsUnspecified() {
		list = append(list, &net.UDPAddr{IP: net.IPv4zero, Port: int(own.Port())})
	}
	return list
}
