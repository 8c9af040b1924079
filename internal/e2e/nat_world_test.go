//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/internal/testca"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/nat"
	"github.com/boothwire/boothwire/relay/server"
)

// The public host of a natWorld: a relay on 443, and STUN on two addresses and two
// ports of each family (RFC 5780).
const (
	addrPublic   = "203.0.113.10"
	addrPublicB  = "203.0.113.11"
	addrPublic6  = "2001:db8::10"
	addrPublic6B = "2001:db8::11"
	relayName    = "r-1"
)

// uplinkDelay is one way, of every site but an open one: two of them are 40 ms
// from each other and back, as far ends of one country are.
const uplinkDelay = 10 * time.Millisecond

// A natWorld is a device and an operator of every kind on one internet, with a
// relay and a STUN server.
type natWorld struct {
	t       *testing.T
	lab     *netlab.Lab
	ca      *testca.CA
	public  *netlab.Host
	devices map[netlab.Kind]*netlab.Site
	others  map[netlab.Kind]*netlab.Site // operators'
	signer  *keys.Signer
	key     keys.PrivateKey // the relay's
}

func newNATWorld(t *testing.T) *natWorld {
	t.Helper()
	w := &natWorld{
		t: t, lab: netlab.New(t), ca: testca.New(t, t.TempDir()), key: keys.NewPrivateKey(),
		devices: make(map[netlab.Kind]*netlab.Site), others: make(map[netlab.Kind]*netlab.Site),
	}
	internet := w.lab.Switch("internet")
	w.public = w.lab.Host("public")
	link := w.lab.Link(w.public, addrPublic+"/24", internet, "")
	link.A.Add(addrPublicB + "/24")
	link.A.Add(addrPublic6 + "/64")
	link.A.Add(addrPublic6B + "/64")
	far := netlab.SiteConfig{Uplink: netlab.Emulation{Delay: uplinkDelay}}
	var sites []*netlab.Site
	for n, kind := range netlab.Matrix() {
		w.devices[kind] = w.lab.Site(fmt.Sprint("d", n), kind, internet, 1+n, far)
		w.others[kind] = w.lab.Site(fmt.Sprint("o", n), kind, internet, 51+n, far)
		sites = append(sites, w.devices[kind], w.others[kind])
	}
	for _, s := range sites {
		s.Others6(w.public)
		for _, o := range sites {
			if o != s && o.Kind == netlab.OnlyIPv6 {
				s.Others6(o.Router)
			}
		}
	}
	w.lab.Start()
	w.serveRelay()
	w.serveSTUN()
	return w
}

// serveRelay runs a relay for a control that only signs.
func (w *natWorld) serveRelay() {
	t, store := w.t, keys.NewMemory()
	root, online := must(keys.OpenIdentity(store, "root")), must(keys.OpenIdentity(store, "online"))
	record := must(keys.SignRecord(root, keys.Record{ID: "control-1", Key: online.Key(), Epoch: 1, Scope: []string{keys.TypeRelay}}))
	w.signer = must(keys.NewSigner(online, record))
	cert, key := w.ca.Server("relay", []string{addrPublic, addrPublic6})
	srv := must(server.New(relayName, w.key, must(keys.ParseRoots("", root.Key().String())), &server.Config{
		TLS: &tls.Config{Certificates: []tls.Certificate{w.ca.Pair(cert, key)}}, Drain: time.Millisecond,
	}))
	var ln net.Listener
	if err := w.public.Do(func() (err error) { ln, err = net.Listen("tcp", ":443"); return }); err != nil {
		t.Fatal(err)
	}
	w.serve("relay", func(ctx context.Context) error { return srv.Serve(ctx, ln) })
}

func (w *natWorld) serveSTUN() {
	var conns []net.PacketConn
	for _, addr := range []string{addrPublic, addrPublicB, addrPublic6, addrPublic6B} {
		for _, port := range []uint16{3478, 3479} {
			err := w.public.Do(func() error {
				c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), port)))
				conns = append(conns, c)
				return err
			})
			if err != nil {
				w.t.Fatal(err)
			}
		}
	}
	w.t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	w.serve("STUN", func(ctx context.Context) error { return nat.ServeSTUN(ctx, conns...) })
}

// serve runs f until the test ends.
func (w *natWorld) serve(name string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("%s: %v", name, err)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
