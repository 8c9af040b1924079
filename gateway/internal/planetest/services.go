package planetest

import (
	"net"
	"net/netip"
	"sync"
	"testing"
)

// services are the host's own, at all of its addresses.
type services struct {
	tcp, udp  uint16
	addresses []netip.Addr // IPv4

	mu      sync.Mutex
	touched []string
}

func newServices(t *testing.T) *services {
	t.Helper()
	s := &services{}
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	u, err := net.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	s.tcp, s.udp = uint16(l.Addr().(*net.TCPAddr).Port), uint16(u.LocalAddr().(*net.UDPAddr).Port)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.touch("TCP from " + c.RemoteAddr().String())
			c.Close()
		}
	}()
	go func() {
		for b := make([]byte, 2000); ; {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			if n >= 4 && b[0] >= 1 && b[0] <= 4 && b[1]|b[2]|b[3] == 0 {
				continue // some WireGuard looks for who had the port before
			}
			s.touch("UDP from " + from.String() + ": " + string(b[:n]))
		}
	}()
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr() != netip.AddrFrom4([4]byte{10, 166, 0, 1}) {
			s.addresses = append(s.addresses, p.Addr())
		}
	}
	return s
}

func (s *services) touch(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched = append(s.touched, what)
}

// untouched fails t if anybody reached a service since it was last asked.
func (s *services) untouched(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, what := range s.touched {
		t.Errorf("the host's own service was reached: %s", what)
	}
	s.touched = nil
}
