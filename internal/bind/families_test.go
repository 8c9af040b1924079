//go:build linux

package bind

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/boothwire/boothwire/internal/netlab"
)

// Packets to addresses of both families, in turn, all arrive: also with sockets that
// were closed and opened again.
func TestFamilies(t *testing.T) {
	t.Parallel()
	l := netlab.New(t)
	near, far := l.Host("near"), l.Host("far")
	link := l.Link(near, "192.0.2.1/24", far, "192.0.2.2/24")
	link.A.Add("2001:db8:1:2:3:4:5:6/64")
	link.B.Add("2001:db8:1:2:3:4:5:7/64")
	l.Start()
	var ears []net.PacketConn
	var eps []conn.Endpoint
	b := Default()
	for _, addr := range []string{"192.0.2.2:7001", "[2001:db8:1:2:3:4:5:7]:7001"} {
		var c net.PacketConn
		err := far.Do(func() (err error) {
			c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ep, err := b.ParseEndpoint(addr)
		if err != nil {
			t.Fatal(err)
		}
		ears, eps = append(ears, c), append(eps, ep)
	}
	for round := range 2 {
		if err := near.Do(func() error { _, _, err := b.Open(0); return err }); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.Open(0); err != conn.ErrBindAlreadyOpen {
			t.Errorf("opened twice: %v", err)
		}
		for n := range 20 {
			i := n % 2
			want := fmt.Sprintf("packet %d of round %d", n, round)
			if err := b.Send([][]byte{[]byte(want)}, eps[i]); err != nil {
				t.Fatal(err)
			}
			ears[i].SetReadDeadline(time.Now().Add(10 * time.Second))
			buf := make([]byte, 64)
			size, _, err := ears[i].ReadFrom(buf)
			if got := string(buf[:size]); err != nil || got != want {
				t.Fatalf("to %s came %q, want %q: %v", eps[i].DstToString(), got, want, err)
			}
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A sixless is a StdNetBind as it is without IPv6: it does not know its port.
type sixless struct{ conn.Bind }

func (s sixless) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	fns, _, err := s.Bind.Open(port)
	return fns, 0, err
}

func TestPortIsKnownWithoutIPv6(t *testing.T) {
	b := sixless{conn.NewStdNetBind()}
	_, port, err := openAt(b, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)}); port == 0 || err == nil {
		t.Errorf("it is open at %d, where nobody listens", port)
		c.Close()
	}
}
