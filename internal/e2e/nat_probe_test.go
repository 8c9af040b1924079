//go:build linux

package e2e

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/nat"
)

// What a probe says of each kind of network: by this a session explains its path.
func TestProbeTellsKindsApart(t *testing.T) {
	w := newNATWorld(t)
	w.serveSTUN()
	var wg sync.WaitGroup
	for _, tt := range []struct {
		kind               netlab.Kind
		blocked            nat.Fact
		works4, works6     nat.Fact
		mapping, filtering nat.Class
		kept               nat.Fact
	}{
		{netlab.Open, nat.No, nat.Yes, nat.NotChecked, nat.Open, nat.Open, nat.NotChecked},
		{netlab.FullCone, nat.No, nat.Yes, nat.NotChecked, nat.EndpointIndependent, nat.EndpointIndependent, nat.No},
		{netlab.AddressRestricted, nat.No, nat.Yes, nat.NotChecked, nat.EndpointIndependent, nat.AddressDependent, nat.No},
		{netlab.PortRestricted, nat.No, nat.Yes, nat.NotChecked, nat.EndpointIndependent, nat.AddressAndPortDependent, nat.Yes},
		{netlab.DoubleNAT, nat.No, nat.Yes, nat.NotChecked, nat.EndpointIndependent, nat.AddressAndPortDependent, nat.No},
		{netlab.Symmetric, nat.No, nat.Yes, nat.NotChecked, nat.AddressAndPortDependent, nat.AddressAndPortDependent, nat.No},
		{netlab.UDPBlocked, nat.Yes, nat.No, nat.NotChecked, nat.Unknown, nat.Unknown, nat.NotChecked},
		{netlab.OnlyTCP443, nat.Yes, nat.No, nat.NotChecked, nat.Unknown, nat.Unknown, nat.NotChecked},
		{netlab.OnlyProxy, nat.Yes, nat.No, nat.NotChecked, nat.Unknown, nat.Unknown, nat.NotChecked},
		{netlab.OnlyIPv6, nat.No, nat.NotChecked, nat.Yes, nat.Open, nat.AddressAndPortDependent, nat.NotChecked},
	} {
		s := w.devices[tt.kind]
		var sock net.PacketConn
		err := s.Host.Do(func() (err error) {
			sock, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.Addr, 0)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer sock.Close()
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r, err := nat.Probe(ctx, sock, []string{addrRelay, "[" + addrRelay6 + "]"})
			if err != nil {
				t.Errorf("%s: %v", tt.kind, err)
				return
			}
			t.Logf("%-18s %s", tt.kind, r)
			if r.UDPBlocked != tt.blocked || r.IPv4.Works != tt.works4 || r.IPv6.Works != tt.works6 {
				t.Errorf("%s: UDP blocked %v, IPv4 %v, IPv6 %v; want %v, %v, %v", tt.kind, r.UDPBlocked, r.IPv4.Works, r.IPv6.Works, tt.blocked, tt.works4, tt.works6)
			}
			f := r.IPv4
			if tt.works6 == nat.Yes {
				f = r.IPv6
			}
			if f.Mapping != tt.mapping || f.Filtering != tt.filtering || f.Kept != tt.kept {
				t.Errorf("%s: mapping %v, filtering %v, port kept %v; want %v, %v, %v", tt.kind, f.Mapping, f.Filtering, f.Kept, tt.mapping, tt.filtering, tt.kept)
			}
		})
	}
	wg.Wait()
}
