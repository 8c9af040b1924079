// Package stun is the STUN server as programs run it beside what they are for.
package stun

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/nat"
)

// Validate checks addresses as a configuration file has them, in the field stun.
func Validate(addrs []string) error {
	for _, addr := range addrs {
		if _, err := netip.ParseAddrPort(addr); err != nil {
			return daemon.Wrong("stun", "%q is no address such as 203.0.113.7:3478", addr)
		}
	}
	return nil
}

// A Server has its sockets open.
type Server struct{ conns []net.PacketConn }

// Listen opens the sockets, or none.
func Listen(addrs []string) (*Server, error) {
	s := new(Server)
	for _, addr := range addrs {
		c, err := net.ListenPacket("udp", addr)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("listen for STUN: %w", err)
		}
		s.conns = append(s.conns, c)
	}
	return s, nil
}

// Serve answers until ctx ends, and closes the sockets. Without any it only waits.
func (s *Server) Serve(ctx context.Context) error {
	if len(s.conns) == 0 {
		<-ctx.Done()
		return nil
	}
	defer s.Close()
	return nat.ServeSTUN(ctx, s.conns...)
}

// Close closes the sockets of a server that does not serve.
func (s *Server) Close() {
	for _, c := range s.conns {
		c.Close()
	}
}
