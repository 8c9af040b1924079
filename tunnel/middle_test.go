package tunnel

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// A middle carries datagrams between whoever sends to it and one target, as a
// NAT does, and can be told to lose them or to take another port.
type middle struct {
	t      *testing.T
	front  *net.UDPConn
	target netip.AddrPort
	drop   atomic.Bool

	mu     sync.Mutex
	client netip.AddrPort
	back   *net.UDPConn
	work   sync.WaitGroup
}

func newMiddle(t *testing.T, target netip.AddrPort) *middle {
	m := &middle{t: t, target: target, front: socket(t)}
	m.rebind()
	m.work.Go(func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := m.front.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.client = from
			back := m.back
			m.mu.Unlock()
			if !m.drop.Load() {
				_, _ = back.WriteToUDPAddrPort(buf[:n], m.target)
			}
		}
	})
	t.Cleanup(func() {
		_ = m.front.Close()
		m.mu.Lock()
		_ = m.back.Close()
		m.mu.Unlock()
		m.work.Wait()
	})
	return m
}

func (m *middle) addr() netip.AddrPort { return m.front.LocalAddr().(*net.UDPAddr).AddrPort() }

// rebind takes another port towards the target; what comes to the old one is
// lost.
func (m *middle) rebind() {
	back := socket(m.t)
	m.mu.Lock()
	old := m.back
	m.back = back
	m.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
	m.work.Go(func() {
		buf := make([]byte, 65535)
		for {
			n, _, err := back.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			m.mu.Lock()
			client := m.client
			m.mu.Unlock()
			if !m.drop.Load() {
				_, _ = m.front.WriteToUDPAddrPort(buf[:n], client)
			}
		}
	})
}

func socket(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
