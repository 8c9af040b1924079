package nat

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

func TestBroadcasts(t *testing.T) {
	var nets []net.Addr
	for _, text := range []string{"192.168.1.5/24", "10.1.130.7/17", "198.51.100.1/32", "203.0.113.4/31", "fd00::1/64"} {
		ip, n, err := net.ParseCIDR(text)
		if err != nil {
			t.Fatal(err)
		}
		nets = append(nets, &net.IPNet{IP: ip, Mask: n.Mask})
	}
	var want []netip.Prefix
	for _, text := range []string{"192.168.1.0/32", "192.168.1.255/32", "10.1.128.0/32", "10.1.255.255/32"} {
		want = append(want, netip.MustParsePrefix(text))
	}
	if got := broadcasts(nets); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
