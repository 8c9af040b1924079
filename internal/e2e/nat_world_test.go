//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/nat"
)

// Further addresses of the deployment, which in a natWorld has both families.
const (
	addrRelayB   = "203.0.113.61" // the STUN server's other one (RFC 5780)
	addrControl6 = "2001:db8::10"
	addrBroker6  = "2001:db8::20"
	addrNode6    = "2001:db8::30"
	addrRelay6   = "2001:db8::60"
	addrRelayB6  = "2001:db8::61"
)

// uplinkDelay is one way, of every site but an open one: two of them are 40 ms
// from each other and back, as far ends of one country are.
const uplinkDelay = 10 * time.Millisecond

// A natWorld is a world with a device and an operator of every kind, each at a
// site of its own. Its deployment is reached by IPv4 and IPv6. The one kiosk of
// other worlds is not there; the operator of the world itself looks on.
type natWorld struct {
	*world
	devices map[netlab.Kind]*netlab.Site
	others  map[netlab.Kind]*netlab.Site // operators'
}

// newNATWorld makes the network; nothing runs in it yet.
func newNATWorld(t *testing.T) *natWorld {
	t.Helper()
	w := &natWorld{
		world:   &world{t: t, dir: t.TempDir(), lab: netlab.New(t), front: addrControl},
		devices: make(map[netlab.Kind]*netlab.Site), others: make(map[netlab.Kind]*netlab.Site),
	}
	for _, dir := range []string{w.dir, filepath.Dir(w.dir)} { // Mosquitto reads it as its own user
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	internet := w.lab.Switch("internet")
	var hosts []*netlab.Host
	for _, h := range []struct {
		host  **netlab.Host
		name  string
		addrs []string
	}{
		{&w.controlHost, "control", []string{addrControl + "/24", addrControl6 + "/64"}},
		{&w.broker, "broker", []string{addrBroker + "/24", addrBroker6 + "/64"}},
		{&w.nodeHost, "node", []string{addrNode + "/24", addrNode6 + "/64"}},
		{&w.relayHost, "relay", []string{addrRelay + "/24", addrRelay6 + "/64", addrRelayB + "/24", addrRelayB6 + "/64"}},
		{&w.operator, "office", []string{addrOperator + "/24"}},
	} {
		*h.host = w.lab.Host(h.name)
		link := w.lab.Link(*h.host, h.addrs[0], internet, "")
		for _, a := range h.addrs[1:] {
			link.A.Add(a)
		}
		if *h.host != w.operator {
			hosts = append(hosts, *h.host)
		}
	}
	w.sites(internet, hosts)
	w.lab.Start()
	return w
}

// sites adds two of every kind, and the ways to those that are not translated.
func (w *natWorld) sites(internet *netlab.Host, hosts []*netlab.Host) {
	far := netlab.SiteConfig{Uplink: netlab.Emulation{Delay: uplinkDelay}}
	var sites []*netlab.Site
	for n, kind := range netlab.Matrix() {
		w.devices[kind] = w.lab.Site(fmt.Sprint("d", n), kind, internet, 1+n, far)
		w.others[kind] = w.lab.Site(fmt.Sprint("o", n), kind, internet, 51+n, far)
		sites = append(sites, w.devices[kind], w.others[kind])
	}
	for _, s := range sites {
		for _, h := range hosts {
			s.Others6(h)
		}
		for _, o := range sites {
			if o != s && o.Kind == netlab.OnlyIPv6 {
				s.Others6(o.Router)
			}
		}
	}
}

// stunSockets are two addresses and two ports of each family (RFC 5780).
func stunSockets() (all []netip.AddrPort) {
	for _, addr := range []string{addrRelay, addrRelayB, addrRelay6, addrRelayB6} {
		for _, port := range []uint16{3478, 3479} {
			all = append(all, netip.AddrPortFrom(netip.MustParseAddr(addr), port))
		}
	}
	return all
}

// serveSTUN answers on them until the test ends, where no relay does.
func (w *natWorld) serveSTUN() {
	var conns []net.PacketConn
	for _, at := range stunSockets() {
		err := w.relayHost.Do(func() error {
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
			conns = append(conns, c)
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- nat.ServeSTUN(ctx, conns...) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("STUN: %v", err)
		}
		for _, c := range conns {
			c.Close()
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
