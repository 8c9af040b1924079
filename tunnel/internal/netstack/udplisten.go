package netstack

import (
	"net"
	"net/netip"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// acceptQueue is how many new flows may wait for Accept; more are dropped.
const acceptQueue = 64

// udpListener turns the flows of one local port into connections.
type udpListener struct {
	stack *Stack
	addr  netip.AddrPort
	flows chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (s *Stack) listenUDP(addr netip.AddrPort) (net.Listener, error) {
	l := &udpListener{stack: s, addr: addr, flows: make(chan net.Conn, acceptQueue), done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	if addr.Port() == 0 || s.listeners[addr.Port()] != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: l.Addr(), Err: syscall.EADDRINUSE}
	}
	s.listeners[addr.Port()] = l
	return l, nil
}

// accept makes a connection of a flow's first datagram.
func (l *udpListener) accept(s *Stack, r *udp.ForwarderRequest) {
	if len(l.flows) == cap(l.flows) {
		return
	}
	var queue waiter.Queue
	ep, terr := r.CreateEndpoint(&queue)
	if terr != nil {
		return
	}
	c := &udpConn{gonet.NewUDPConn(&queue, ep), s}
	select {
	case l.flows <- c:
	default:
		_ = c.Close()
	}
}

func (l *udpListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.flows:
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "udp", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

func (l *udpListener) Addr() net.Addr { return net.UDPAddrFromAddrPort(l.addr) }

// Close ends the listener; accepted connections stay.
func (l *udpListener) Close() error {
	l.stack.mu.Lock()
	if l.stack.listeners[l.addr.Port()] == l {
		delete(l.stack.listeners, l.addr.Port())
	}
	l.stack.mu.Unlock()
	l.end()
	return nil
}

func (l *udpListener) end() {
	l.once.Do(func() {
		close(l.done)
		for {
			select {
			case c := <-l.flows:
				_ = c.Close()
			default:
				return
			}
		}
	})
}
