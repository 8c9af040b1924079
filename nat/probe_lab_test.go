package nat_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/nat"
)

// Linux's own NAT, as any home router's: the port is kept, the mapping independent
// of the far end, the filter is not, and nothing hairpins; and its timers, for a
// flow that was answered, are its own.
func TestProbeLinuxNAT(t *testing.T) {
	l := netlab.New(t)
	kiosk, router, server := l.Host("kiosk"), l.Router("nat"), l.Host("server")
	lan := l.Link(kiosk, "192.168.7.2/24", router, "192.168.7.1/24")
	wan := l.Link(router, "203.0.113.7/24", server, "203.0.113.1/24")
	kiosk.Route("default", lan.B.Addr)
	router.NAT(wan.A)
	l.Start()
	server.Run("ip", "address", "add", "203.0.113.2/24", "dev", wan.B.Name)

	listen := func(h *netlab.Host, addr string) (c *net.UDPConn) {
		t.Helper()
		err := h.Do(func() (err error) {
			c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var conns []net.PacketConn
	for _, addr := range []string{"203.0.113.1:3478", "203.0.113.1:3479", "203.0.113.2:3478", "203.0.113.2:3479"} {
		conns = append(conns, listen(server, addr))
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- nat.ServeSTUN(ctx, conns...) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	sock := listen(kiosk, "192.168.7.2:5000")
	r, err := nat.ProbeWith(t.Context(), sock, []string{"203.0.113.1"}, &nat.ProbeConfig{Lifetime: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	want := nat.Family{
		Works: nat.Yes, NAT: nat.Yes, Kept: nat.Yes, Hairpin: nat.No,
		Local: netip.MustParseAddrPort("192.168.7.2:5000"), Public: netip.MustParseAddrPort("203.0.113.7:5000"),
		Mapping: nat.EndpointIndependent, Filtering: nat.AddressAndPortDependent,
	}
	if r.IPv4 != want || r.UDPBlocked != nat.No {
		t.Errorf("got  %+v\nwant %+v", r.IPv4, want)
	}
	if r.Lifetime != (nat.Lifetime{Expires: nat.No, Survived: time.Second}) {
		t.Errorf("%+v", r.Lifetime)
	}
	// The server's own network has no NAT.
	r, err = nat.Probe(t.Context(), listen(server, "203.0.113.1:5000"), []string{"203.0.113.1:3478"})
	if err != nil || r.IPv4.NAT != nat.No || r.IPv4.Mapping != nat.Open || r.IPv4.Filtering != nat.Open {
		t.Errorf("%v %v", r, err)
	}
}
