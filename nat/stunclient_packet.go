package nat

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// A packetSock is a net.PacketConn whose addresses cost no allocation where it can
// be avoided, and are those that hosts have: IPv4 ones are not written as IPv6.
type packetSock struct {
	net.PacketConn
	udp *net.UDPConn // the same, or nil
}

func newPacketSock(c net.PacketConn) packetSock {
	udp, _ := c.(*net.UDPConn)
	return packetSock{c, udp}
}

func (p packetSock) read(b []byte) (n int, from netip.AddrPort, err error) {
	if p.udp != nil {
		n, from, err = p.udp.ReadFromUDPAddrPort(b)
		return n, unmapped(from), err
	}
	n, addr, err := p.ReadFrom(b)
	if err != nil {
		return 0, from, err
	}
	return n, addrPort(addr), nil
}

func (p packetSock) write(b []byte, to netip.AddrPort) error {
	var err error
	if p.udp != nil {
		_, err = p.udp.WriteToUDPAddrPort(b, to)
	} else {
		_, err = p.WriteTo(b, net.UDPAddrFromAddrPort(to))
	}
	return err
}

func (p packetSock) local() netip.AddrPort { return addrPort(p.LocalAddr()) }

// unblock ends a read that waits, and those that come.
func (p packetSock) unblock() { _ = p.SetReadDeadline(time.Unix(1, 0)) }

// restore makes reads wait again.
func (p packetSock) restore() { _ = p.SetReadDeadline(time.Time{}) }

// failuresMost is how many reads may fail one after the other before a socket
// counts as broken. Windows reports on a read that a datagram sent before was
// refused somewhere, or that one was longer than the buffer; neither ends anything.
const failuresMost = 100

// receive hands over what arrives, until the socket is closed, broken, or has a
// deadline that has passed.
func (p packetSock) receive(handle func(b []byte, from netip.AddrPort)) error {
	buf := make([]byte, 2048)
	for failures := 0; ; {
		n, from, err := p.read(buf)
		if err == nil {
			failures = 0
			handle(buf[:n], from)
			continue
		}
		failures++
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) || failures > failuresMost {
			return fmt.Errorf("read: %w", err)
		}
		time.Sleep(time.Duration(failures) * time.Millisecond / 10)
	}
}

// addrPort is an address as host and port, or the zero one.
func addrPort(a net.Addr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	if u, ok := a.(*net.UDPAddr); ok {
		return unmapped(u.AddrPort())
	}
	ap, _ := netip.ParseAddrPort(a.String())
	return unmapped(ap)
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
