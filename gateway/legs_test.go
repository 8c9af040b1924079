package gateway

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/internal/testca"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/relay/server"
)

// meeting is a relay on loopback.
type meeting struct {
	t   testing.TB
	a   *authority
	key keys.PrivateKey
	ca  *testca.CA
	url string
	srv *server.Server
}

func newMeeting(t testing.TB, a *authority) *meeting {
	t.Helper()
	leak := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.None(t, leak) })
	m := &meeting{t: t, a: a, key: keys.NewPrivateKey(), ca: testca.New(t, t.TempDir())}
	cert, key := m.ca.Server("relay", []string{"127.0.0.1"})
	m.srv = must(server.New("r-1", m.key, a.roots, &server.Config{
		TLS: &tls.Config{Certificates: []tls.Certificate{m.ca.Pair(cert, key)}}, Drain: time.Second,
	}))
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	m.url = "https://" + ln.Addr().String() + "/relay"
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- m.srv.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return m
}

// relays are one end's of a device-node pair of p, whose leg 1 is the node's.
func (m *meeting) relays(p *pair, other keys.PublicKey, leg int, change func(*keys.Token)) []keys.Relay {
	t := keys.Token{
		Session: p.grant.Session, Rev: p.grant.Rev, Ends: [2]keys.PublicKey{other, p.grant.Far.Key},
		Leg: leg, Relays: []string{"r-1"}, End: p.grant.End,
	}
	if change != nil {
		change(&t)
	}
	return []keys.Relay{{URL: m.url, Key: m.key.Public(), Token: string(must(t.Sign(m.a.signer)))}}
}

func (m *meeting) dial(ctx context.Context, relays []keys.Relay, key keys.PrivateKey) (net.Conn, error) {
	c, err := relay.Dial(ctx, relays, key, &relay.Config{
		TLS:   &tls.Config{RootCAs: m.ca.Pool()},
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// far is what a tunnel believes to be its far end, where there is no UDP: all goes
// into a leg.
func (m *meeting) far(node keys.FarEnd, relays []keys.Relay, key keys.PrivateKey) keys.FarEnd {
	m.t.Helper()
	conn, err := m.dial(m.t.Context(), relays, key)
	if err != nil {
		m.t.Fatal(err)
	}
	udp := must(net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	var mu sync.Mutex
	var at netip.AddrPort
	var work sync.WaitGroup
	work.Go(func() {
		b := make([]byte, 2048)
		for {
			n, from, err := udp.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			mu.Lock()
			at = from
			mu.Unlock()
			conn.Write(b[:n])
		}
	})
	work.Go(func() {
		b := make([]byte, 2048)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			to := at
			mu.Unlock()
			udp.WriteToUDPAddrPort(b[:n], to)
		}
	})
	m.t.Cleanup(func() {
		conn.Close()
		udp.Close()
		work.Wait()
	})
	node.Endpoints = []netip.AddrPort{udp.LocalAddr().(*net.UDPAddr).AddrPort()}
	return node
}

func grantLineWith(session string, token []byte, relays []keys.Relay) string {
	return fmt.Sprintf(`{"kind":"grant","session":%q,"token":%q,"relays":%s}`, session, token, must(json.Marshal(relays)))
}

// A device and an operator without UDP meet in a node through a relay.
func TestLegs(t *testing.T) {
	a := newAuthority(t, "test")
	m := newMeeting(t, a)
	n, _ := newNode(t, a, &Config{Relay: m.dial})
	p := newPair(n, 1, keys.TCP(22))
	legs := append(m.relays(p, p.device.Public(), 1, nil), m.relays(p, p.operator.Public(), 1, nil)...)
	if err := n.admitFor(t.Context(), "", a.sign(t, &p.grant), legs); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two legs", func() bool { return n.Stats().Legs == 2 })

	device := up(t, m.far(n.FarEnd(), m.relays(p, p.device.Public(), 0, nil), p.device), p.device, p.devAddr())
	if !device.ping(n.FarEnd().Proof, patience) {
		t.Fatal("the device has no proof through the relay")
	}
	operator := up(t, m.far(n.FarEnd(), m.relays(p, p.operator.Public(), 0, nil), p.operator), p.operator, p.opAddr())
	if !operator.ping(n.FarEnd().Proof, patience) {
		t.Fatal("the operator has no proof through the relay")
	}
	ln := must(device.net.ListenTCP(&net.TCPAddr{Port: 22}))
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("hello"))
			c.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := operator.net.DialContext(ctx, "tcp", net.JoinHostPort(p.devAddr(), "22"))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := c.Read(b); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	c.Close()

	// A later grant shows its tokens on the legs that stand.
	p.next(func(g *keys.Grant) { g.End = g.End.Add(time.Hour) })
	legs = append(m.relays(p, p.device.Public(), 1, nil), m.relays(p, p.operator.Public(), 1, nil)...)
	if err := n.admitFor(t.Context(), "", a.sign(t, &p.grant), legs); err != nil {
		t.Fatal(err)
	}
	if st := m.srv.Stats(); st.Accepted != 4 || st.Sessions != 2 {
		t.Errorf("after a renewal: %+v", st)
	}
	if err := n.End(t.Context(), p.grant.Session); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no leg of the node", func() bool { return m.srv.Stats().Sessions == 0 && n.Stats().Legs == 0 })
}

// A restarted node knows its legs, and calls whom it meets at them.
func TestLegsAfterARestart(t *testing.T) {
	a := newAuthority(t, "test")
	m := newMeeting(t, a)
	cfg := &Config{Relay: m.dial, Store: keys.NewMemory(), Journal: filepath.Join(t.TempDir(), "journal")}
	n, r := newNode(t, a, cfg)
	p := newPair(n, 1, keys.TCP(22))
	legs := m.relays(p, p.device.Public(), 1, nil)
	if err := n.admitFor(t.Context(), "", a.sign(t, &p.grant), legs); err != nil {
		t.Fatal(err)
	}
	device := up(t, m.far(n.FarEnd(), m.relays(p, p.device.Public(), 0, nil), p.device), p.device, p.devAddr())
	if !device.ping(n.FarEnd().Proof, patience) {
		t.Fatal("no proof through the relay")
	}
	wait(t, r, KindProved, p.grant.Session)
	time.Sleep(2 * hearSoon) // it must not take the leg's address for the device's
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	n, r = newNode(t, a, cfg)
	wait(t, r, KindHandshake, p.grant.Session) // the device sends nothing by itself
	t.Logf("the device is back after %v", time.Since(began).Round(time.Millisecond))
	if s := n.Stats(); s.Legs != 1 || s.Restored != 1 {
		t.Errorf("stats %+v", s)
	}
}

// What comes beside a grant is believed no more than the grant.
func TestLegsRefused(t *testing.T) {
	a, stranger := newAuthority(t, "test"), newAuthority(t, "test")
	var dialled sync.Map
	cfg := &Config{Relay: func(ctx context.Context, relays []keys.Relay, _ keys.PrivateKey) (net.Conn, error) {
		dialled.Store(relays[0].Token, true)
		return nil, fmt.Errorf("no")
	}}
	n, _ := newNode(t, a, cfg)
	m := &meeting{t: t, a: a, key: keys.NewPrivateKey(), url: "https://127.0.0.1:1/relay"}
	p := newPair(n, 1)
	good := m.relays(p, p.device.Public(), 1, nil)
	bad := [][]keys.Relay{
		m.relays(p, p.device.Public(), 1, func(t *keys.Token) { t.Session = "session-2" }),
		m.relays(p, p.device.Public(), 0, nil), // the device's leg
		m.relays(p, keys.NewPrivateKey().Public(), 1, nil),
		m.relays(p, p.device.Public(), 1, func(t *keys.Token) { t.Ends[1] = keys.NewPrivateKey().Public() }),
		{{URL: m.url, Key: m.key.Public(), Token: "nonsense"}},
	}
	forged := *m
	forged.a = stranger
	bad = append(bad, forged.relays(p, p.device.Public(), 1, nil))
	legs := good
	for _, b := range bad {
		legs = append(b, legs...)
	}
	if err := n.admitFor(t.Context(), "", a.sign(t, &p.grant), legs); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a leg is dialled", func() bool { _, ok := dialled.Load(good[0].Token); return ok })
	count := 0
	dialled.Range(func(any, any) bool { count++; return true })
	if count != 1 {
		t.Errorf("%d tokens were used, want 1", count)
	}
	// Legs go with the session, and come with no grant that is refused.
	q := newPair(n, 2)
	q.grant.Far.Node = "wg-sh-01"
	if err := n.admitFor(t.Context(), "", a.sign(t, &q.grant), m.relays(q, q.device.Public(), 1, nil)); err == nil {
		t.Error("another node's grant is admitted")
	}
	if len(n.legs.sessions) != 1 || n.legs.n != 1 {
		t.Errorf("%d legs in %d sessions", n.legs.n, len(n.legs.sessions))
	}
}

// A leg outlives the key that it is for, a little; one that is named again stays.
func TestLegsFollowGrants(t *testing.T) {
	a := newAuthority(t, "test")
	cfg := &Config{Relay: func(ctx context.Context, _ []keys.Relay, _ keys.PrivateKey) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	n, _ := newNode(t, a, cfg)
	m := &meeting{t: t, a: a, key: keys.NewPrivateKey(), url: "https://127.0.0.1:1/relay"}
	p := newPair(n, 1)
	old := p.device.Public()
	grant := func(relays []keys.Relay) *standing {
		t.Helper()
		if err := n.admitFor(t.Context(), "", a.sign(t, &p.grant), relays); err != nil {
			t.Fatal(err)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.legs.sessions[p.grant.Session][old]
	}
	first := grant(m.relays(p, old, 1, nil))
	if first == nil || first.ends != nil {
		t.Fatalf("the leg: %+v", first)
	}
	next := keys.NewPrivateKey()
	p.next(func(g *keys.Grant) { g.Prekey = next.Public() })
	if s := grant(m.relays(p, next.Public(), 1, nil)); s != first || s.ends == nil {
		t.Errorf("the leg of a key that is gone: %+v", s)
	}
	if n.legs.n != 2 {
		t.Errorf("%d legs", n.legs.n)
	}
	p.next(func(g *keys.Grant) { g.Prekey = old })
	if s := grant(m.relays(p, old, 1, nil)); s != first || s.ends != nil {
		t.Errorf("the leg of a key that is back: %+v", s)
	}
	n.End(t.Context(), p.grant.Session)
	if len(n.legs.sessions) != 0 || n.legs.n != 0 {
		t.Errorf("%d legs are left", n.legs.n)
	}
}

// Relays reach a node by control's line, and a node that uses none takes it as well.
func TestFollowLegs(t *testing.T) {
	a := newAuthority(t, "test")
	m := newMeeting(t, a)
	for legs, cfg := range []*Config{{}, {Relay: m.dial}} {
		c := newFakeControl(t, a)
		cfg.Store = keys.NewMemory()
		n, _, stop := followingWith(t, c, cfg, nil, silence)
		p := newPair(n, 1)
		c.say(true, grantLineWith(p.grant.Session, a.sign(t, &p.grant), m.relays(p, p.device.Public(), 1, nil)))
		eventually(t, "installed", func() bool { return c.told(KindInstalled, p.grant.Session, "") })
		eventually(t, "its legs", func() bool { return n.Stats().Legs == legs })
		stop()
		n.Close()
	}
}
