package mux

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v2"
	"github.com/pion/stun"
)

const (
	// most is the largest datagram that is looked at: STUN's must fit a path's MTU
	// (RFC 8489, section 6.1).
	most = 1500
	// readFailures in a row end the Mux. An ICMP error that a socket reports comes
	// once for each datagram, and a datagram every 20 ms is what an agent sends.
	readFailures = 100
	readBackoff  = 10 * time.Millisecond
)

// Config says what the Mux leaves alone. Its zero value refuses nothing.
type Config struct {
	// Refuse are prefixes of which no address is listed, heard or sent to: what
	// the tunnel itself carries, so that no path leads through it.
	Refuse []netip.Prefix

	// Interfaces returns the addresses of the host, for a socket without an
	// address of its own; nil asks the system.
	Interfaces func() ([]netip.Addr, error)
}

// A Mux shares a socket. Its methods may be called concurrently.
type Mux struct {
	cfg     Config
	sock    net.PacketConn
	local   netip.AddrPort
	closing chan struct{} // closed by the first Close
	done    chan struct{} // closed when nothing reads the socket any more

	mu      sync.Mutex
	conns   map[string][]*conn // by the agent's username fragment
	sent    transactions
	targets targets
	asks    map[id]*ask
	shut    bool
	err     error
}

type id = [stun.TransactionIDSize]byte

var _ ice.UniversalUDPMux = (*Mux)(nil)

// New reads sock until Close; nobody else may read it meanwhile.
func New(sock net.PacketConn, cfg Config) (*Mux, error) {
	addr, ok := sock.LocalAddr().(*net.UDPAddr)
	if !ok {
		return nil, errors.New("the socket has no UDP address")
	}
	if err := sock.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	m := &Mux{
		cfg:     cfg,
		sock:    sock,
		local:   unmap(addr.AddrPort()),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		conns:   make(map[string][]*conn),
		asks:    make(map[id]*ask),
	}
	go m.read()
	return m, nil
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Done is closed when the socket is not read any more: after Close, or because it
// failed.
func (m *Mux) Done() <-chan struct{} { return m.done }

// Err returns what the socket failed with, nil as long as it did not.
func (m *Mux) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// Close ends every conn and query and waits until the socket is not read any
// more. The socket stays open, without a read deadline.
func (m *Mux) Close() error {
	m.mu.Lock()
	shut := m.shut
	m.shut = true
	m.mu.Unlock()
	if !shut {
		close(m.closing)
		_ = m.sock.SetReadDeadline(time.Unix(1, 0))
	}
	<-m.done
	if !shut {
		_ = m.sock.SetReadDeadline(time.Time{})
	}
	return nil
}

// read hands datagrams out until the Mux is closed or the socket fails.
func (m *Mux) read() {
	defer close(m.done)
	defer m.closeConns()
	buf := make([]byte, most+1)
	for failures := 0; ; {
		n, addr, err := m.sock.ReadFrom(buf)
		select {
		case <-m.closing:
			return
		default:
		}
		if err == nil {
			failures = 0
			if from, ok := addr.(*net.UDPAddr); ok && n <= most {
				m.handle(buf[:n], unmap(from.AddrPort()))
			}
			continue
		}
		if os.IsTimeout(err) {
			_ = m.sock.SetReadDeadline(time.Time{}) // somebody else's
		}
		if failures++; failures >= readFailures || errors.Is(err, net.ErrClosed) {
			m.mu.Lock()
			m.err = err
			m.mu.Unlock()
			return
		}
		select {
		case <-m.closing:
			return
		case <-time.After(readBackoff):
		}
	}
}

func (m *Mux) closeConns() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shut = true
	for _, conns := range m.conns {
		for _, c := range conns {
			c.end()
		}
	}
	clear(m.conns)
}

// handle gives one datagram to whom it is for. What is not a Binding of RFC 8489
// is dropped, and so is what nobody waits for.
func (m *Mux) handle(data []byte, from netip.AddrPort) {
	if !from.IsValid() || m.refused(from.Addr()) || !stun.IsMessage(data) {
		return
	}
	msg := &stun.Message{Raw: slices.Clone(data)}
	if msg.Decode() != nil || msg.Type.Method != stun.MethodBinding {
		return
	}
	switch msg.Type.Class {
	case stun.ClassRequest:
		if c := m.named(msg, from); c != nil {
			c.deliver(data, from)
		}
	case stun.ClassSuccessResponse, stun.ClassErrorResponse:
		m.mu.Lock()
		a, c := m.asks[msg.TransactionID], m.sent.find(msg.TransactionID)
		m.mu.Unlock()
		switch {
		case a != nil:
			a.answer(msg, from)
		case c != nil:
			c.learn(msg, from)
			c.deliver(data, from)
		}
	}
}

// named returns the conn for a request: of the agent whose fragment stands first
// in USERNAME (RFC 8445, section 7.2.2), of the sender's address family.
func (m *Mux) named(msg *stun.Message, from netip.AddrPort) *conn {
	name, err := msg.Get(stun.AttrUsername)
	if err != nil {
		return nil
	}
	ufrag, _, _ := strings.Cut(string(name), ":")
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns[ufrag] {
		if c.ipv6 == from.Addr().Is6() {
			return c
		}
	}
	return nil
}

// refused reports whether nothing may go to or come from a. A link-local address
// means something else at the far end, and needs a zone here.
func (m *Mux) refused(a netip.Addr) bool {
	return a.IsLinkLocalUnicast() || a.IsMulticast() || slices.ContainsFunc(m.cfg.Refuse, func(p netip.Prefix) bool { return p.Contains(a) })
}

// write sends b, which holds nothing but the datagram in its capacity: a socket
// with segmentation may append to what it is given.
func (m *Mux) write(b []byte, to netip.AddrPort) error {
	if !to.IsValid() || m.refused(to.Addr()) {
		return errRefused
	}
	_, err := m.sock.WriteTo(slices.Clip(b), net.UDPAddrFromAddrPort(to))
	return err
}

var errRefused = errors.New("an address that is refused")
