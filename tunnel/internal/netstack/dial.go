package netstack

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
)

func full(a netip.AddrPort) (tcpip.FullAddress, tcpip.NetworkProtocolNumber) {
	proto := tcpip.NetworkProtocolNumber(ipv4.ProtocolNumber)
	if a.Addr().Is6() {
		proto = ipv6.ProtocolNumber
	}
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}, proto
}

// Dial connects to addr; network is "tcp" or "udp". ctx bounds the call.
func (s *Stack) Dial(ctx context.Context, network string, addr netip.AddrPort) (net.Conn, error) {
	if s.isClosed() {
		return nil, net.ErrClosed
	}
	to, proto := full(addr)
	switch network {
	case "tcp":
		return s.dialTCP(ctx, to, proto)
	case "udp":
		c, err := gonet.DialUDP(s.stack, nil, &to, proto)
		if err != nil {
			return nil, s.explain(err)
		}
		return &udpConn{c, s}, nil
	}
	return nil, net.UnknownNetworkError(network)
}

func (s *Stack) dialTCP(ctx context.Context, to tcpip.FullAddress, proto tcpip.NetworkProtocolNumber) (net.Conn, error) {
	// The connection also ends with the stack: an endpoint that Close has not
	// seen would otherwise wait for its own time-out.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()

	c, err := gonet.DialContextTCP(ctx, s.stack, to, proto)
	if err != nil {
		if s.isClosed() && errors.Is(err, context.Canceled) {
			return nil, net.ErrClosed
		}
		return nil, s.explain(err)
	}
	if s.isClosed() {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	return &tcpConn{TCPConn: c, stack: s}, nil
}

// Listen accepts connections at addr; network is "tcp" or "udp". A "udp"
// listener accepts one connection for each remote address and port; its Accept
// returns when that one's first datagram has come.
func (s *Stack) Listen(network string, addr netip.AddrPort) (net.Listener, error) {
	if s.isClosed() {
		return nil, net.ErrClosed
	}
	switch network {
	case "tcp":
		at, proto := full(addr)
		l, err := gonet.ListenTCP(s.stack, at, proto)
		if err != nil {
			return nil, s.explain(err)
		}
		t := &tcpListener{TCPListener: l, stack: s}
		t.stop = context.AfterFunc(s.ctx, func() { t.shut() })
		return t, nil
	case "udp":
		return s.listenUDP(addr)
	}
	return nil, net.UnknownNetworkError(network)
}

type tcpListener struct {
	*gonet.TCPListener
	stack *Stack
	stop  func() bool
}

func (l *tcpListener) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	return &tcpConn{TCPConn: c.(*gonet.TCPConn), stack: l.stack}, nil
}

// Close ends the listener and a waiting Accept; connections stay.
func (l *tcpListener) Close() error {
	l.stop()
	l.shut()
	return nil
}

// shut wakes Accept, which a plain Close of gonet's listener leaves waiting.
func (l *tcpListener) shut() {
	l.TCPListener.Shutdown()
	_ = l.TCPListener.Close()
}
