package netstack

import (
	"errors"
	"io"
	"net"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// A tcpConn is a connection whose errors are those that package net would give:
// net.ErrClosed after the stack or the connection was closed, and the system's
// words for resets and refusals.
type tcpConn struct {
	*gonet.TCPConn
	ep    tcpip.Endpoint // of a forward
	stack *Stack
}

func (c *tcpConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if err == io.EOF && (c.stack.isClosed() || c.aborted()) {
		// gVisor reads a connection that was aborted here as ended by the far side.
		err = &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: net.ErrClosed}
	}
	return n, c.stack.explain(err)
}

func (c *tcpConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	return n, c.stack.explain(err)
}

// aborted tells an end that this side made from one that the far side did.
func (c *tcpConn) aborted() bool {
	return c.ep != nil && tcp.EndpointState(c.ep.State()) == tcp.StateError
}

// abort ends the connection with a reset instead of an orderly close.
func (c *tcpConn) abort() { c.ep.Abort() }

// udpConn is the same for datagrams.
type udpConn struct {
	*gonet.UDPConn
	stack *Stack
}

func (c *udpConn) Read(b []byte) (int, error) {
	n, err := c.UDPConn.Read(b)
	if err == io.EOF {
		err = &net.OpError{Op: "read", Net: "udp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: net.ErrClosed}
	}
	return n, c.stack.explain(err)
}

func (c *udpConn) Write(b []byte) (int, error) {
	n, err := c.UDPConn.Write(b)
	return n, c.stack.explain(err)
}

// known are the words of gVisor's errors that have a name in package syscall.
// gonet keeps only the words.
func known(text string) error {
	switch text {
	case (&tcpip.ErrConnectionRefused{}).String():
		return syscall.ECONNREFUSED
	case (&tcpip.ErrConnectionReset{}).String():
		return syscall.ECONNRESET
	case (&tcpip.ErrConnectionAborted{}).String():
		return syscall.ECONNABORTED
	case (&tcpip.ErrTimeout{}).String():
		return syscall.ETIMEDOUT
	case (&tcpip.ErrHostUnreachable{}).String():
		return syscall.EHOSTUNREACH
	case (&tcpip.ErrNetworkUnreachable{}).String():
		return syscall.ENETUNREACH
	case (&tcpip.ErrClosedForSend{}).String():
		return syscall.EPIPE
	case (&tcpip.ErrPortInUse{}).String():
		return syscall.EADDRINUSE
	case (&tcpip.ErrBadLocalAddress{}).String():
		return syscall.EADDRNOTAVAIL
	case (&tcpip.ErrInvalidEndpointState{}).String():
		return net.ErrClosed
	}
	return nil
}

// explain replaces the inner error of a *net.OpError where package net has a
// name for it.
func (s *Stack) explain(err error) error {
	var op *net.OpError
	if err == nil || !errors.As(err, &op) || op.Err == nil || op.Timeout() {
		return err
	}
	if s.isClosed() {
		op.Err = net.ErrClosed
	} else if e := known(op.Err.Error()); e != nil {
		op.Err = e
	}
	return err
}
