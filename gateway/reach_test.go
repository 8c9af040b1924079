package gateway

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// serve accepts TCP connections on ports of an end, and answers UDP on them.
func (e *end) serve(t testing.TB, ports ...uint16) {
	t.Helper()
	for _, port := range ports {
		ln, err := e.net.ListenTCPAddrPort(netip.AddrPortFrom(e.address, port))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
		pc, err := e.net.ListenUDPAddrPort(netip.AddrPortFrom(e.address, port))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			var b [100]byte
			for {
				n, from, err := pc.ReadFrom(b[:])
				if err != nil {
					return
				}
				pc.WriteTo(b[:n], from)
			}
		}()
		t.Cleanup(func() {
			ln.Close()
			pc.Close()
		})
	}
}

// reaches reports whether a port answers, within the time that what may be reached
// needs or what may not is given.
func (e *end) reaches(to netip.Addr, p keys.Port, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if p.Proto == "tcp" {
		c, err := e.net.DialContextTCPAddrPort(ctx, netip.AddrPortFrom(to, p.Number))
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
	c, err := e.net.DialUDPAddrPort(netip.AddrPort{}, netip.AddrPortFrom(to, p.Number))
	if err != nil {
		return false
	}
	defer c.Close()
	for ctx.Err() == nil {
		c.Write([]byte("ping"))
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		var b [8]byte
		if _, err := c.Read(b[:]); err == nil {
			return true
		}
	}
	return false
}

// Two sessions on one node, their ends speaking real WireGuard, and all of them
// willing to serve everybody: only the node stands between.
func TestReachMatrix(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "test")
	n, r := newNode(t, a, nil)
	p, q := newPair(n, 1, keys.TCP(22), keys.UDP(3389)), newPair(n, 2, keys.TCP(445))
	joined := keys.NewPrivateKey()
	p.grant.Operators = append(p.grant.Operators, keys.Operator{ID: "joined", Key: joined.Public(), Address: netip.MustParseAddr("10.166.250.1"), Ports: []keys.Port{keys.TCP(3389)}})
	admit(t, n, a, &p.grant)
	admit(t, n, a, &q.grant)
	ends := map[string]*end{
		"device 1":   up(t, n.FarEnd(), p.device, p.devAddr()),
		"operator 1": up(t, n.FarEnd(), p.operator, p.opAddr()),
		"joined 1":   up(t, n.FarEnd(), joined, "10.166.250.1"),
		"device 2":   up(t, n.FarEnd(), q.device, q.devAddr()),
		"operator 2": up(t, n.FarEnd(), q.operator, q.opAddr()),
	}
	ports := []uint16{22, 445, 3389, 8080}
	for name, e := range ends {
		e.serve(t, ports...)
		if !e.ping(n.FarEnd().Proof, patience) {
			t.Fatalf("%s gets no proof", name)
		}
	}
	type way struct {
		from, to string
		port     keys.Port
	}
	allowed := map[way]bool{
		{"operator 1", "device 1", keys.TCP(22)}:   true,
		{"operator 1", "device 1", keys.UDP(3389)}: true,
		{"joined 1", "device 1", keys.TCP(3389)}:   true,
		{"operator 2", "device 2", keys.TCP(445)}:  true,
	}
	for w := range allowed {
		if !ends[w.from].reaches(ends[w.to].address, w.port, patience) {
			t.Errorf("%v: closed", w)
		}
	}
	// What is refused is tried all at once: each is given as long as everything
	// that is allowed needed many times over.
	type result struct {
		way  way
		open bool
	}
	results := make(chan result)
	tried := 0
	for from, e := range ends {
		for to, target := range ends {
			for _, port := range ports {
				for _, k := range []keys.Port{keys.TCP(port), keys.UDP(port)} {
					w := way{from, to, k}
					if from == to || allowed[w] {
						continue
					}
					tried++
					go func() { results <- result{w, e.reaches(target.address, k, 2*time.Second)} }()
				}
			}
		}
	}
	for range tried {
		if got := <-results; got.open {
			t.Errorf("%v: open", got.way)
		}
	}
	for _, w := range []way{{from: "operator 1", to: "device 1"}, {from: "joined 1", to: "device 1"}} {
		if !ends[w.from].ping(ends[w.to].address, patience) {
			t.Errorf("%v: no proof", w)
		}
	}
	for _, w := range []way{{from: "device 1", to: "device 2"}, {from: "operator 1", to: "device 2"}, {from: "operator 1", to: "joined 1"}, {from: "device 1", to: "operator 1"}} {
		if ends[w.from].ping(ends[w.to].address, 500*time.Millisecond) {
			t.Errorf("%v: an echo came back", w)
		}
	}
	drops := n.Stats().Dropped
	for _, reason := range []string{"isolated", "port_not_granted", "no_flow", "protocol"} {
		if drops[reason] == 0 {
			t.Errorf("nothing was dropped as %s: %v", reason, drops)
		}
	}
	for _, s := range []string{p.grant.Session, q.grant.Session} {
		wait(t, r, KindProved, s)
	}
	if r.count(KindProved) != 2 {
		t.Errorf("%d sessions proved", r.count(KindProved))
	}

	// One rev takes the port back and lets the other operator go, live.
	admit(t, n, a, p.next(func(g *keys.Grant) {
		g.Operators = []keys.Operator{g.Operators[0]}
		g.Operators[0].Ports = []keys.Port{keys.TCP(445)}
	}))
	if !ends["operator 1"].reaches(ends["device 1"].address, keys.TCP(445), patience) {
		t.Error("a port given by a later rev is closed")
	}
	if ends["operator 1"].reaches(ends["device 1"].address, keys.TCP(22), time.Second) || ends["joined 1"].ping(n.FarEnd().Proof, time.Second) {
		t.Error("what a later rev took back is open")
	}
}

// A device that uses addresses not its own gets nowhere with them.
func TestSpoof(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "test")
	n, r := newNode(t, a, nil)
	p, q := newPair(n, 1, keys.TCP(22)), newPair(n, 2, keys.TCP(22))
	admit(t, n, a, &p.grant)
	admit(t, n, a, &q.grant)
	victim := up(t, n.FarEnd(), p.device, p.devAddr())
	victim.serve(t, 22)
	if !victim.ping(n.FarEnd().Proof, patience) {
		t.Fatal("no proof")
	}
	for _, address := range []string{p.opAddr(), p.devAddr(), "10.166.0.1", "10.166.77.7"} {
		before := n.Stats().Dropped["spoofed"]
		liar := up(t, n.FarEnd(), q.device, address)
		if liar.reaches(victim.address, keys.TCP(22), 500*time.Millisecond) {
			t.Errorf("a device as %s reaches another", address)
		}
		eventually(t, "a count of "+address, func() bool {
			liar.reaches(n.FarEnd().Proof, keys.UDP(9), 100*time.Millisecond)
			return n.Stats().Dropped["spoofed"] > before
		})
		liar.down()
	}
	if _, ok := r.find(KindProved, q.grant.Session); ok {
		t.Error("a false address is a proof")
	}
}

// The end of a grant cuts a live connection, with nobody saying anything.
func TestEndCutsConnections(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "test")
	n, r := newNode(t, a, nil)
	p := newPair(n, 1, keys.TCP(22))
	admit(t, n, a, &p.grant)
	device := up(t, n.FarEnd(), p.device, p.devAddr())
	if !device.ping(n.FarEnd().Proof, patience) {
		t.Fatal("no proof")
	}
	admit(t, n, a, p.next(func(g *keys.Grant) { g.End = time.Now().Add(4 * time.Second).Truncate(time.Second).UTC() }))
	if e := wait(t, r, KindClosed, p.grant.Session); e.Code != CodeExpired {
		t.Errorf("closed with %q", e.Code)
	}
	if now := time.Now(); now.Before(p.grant.End) {
		t.Error("closed before its end")
	}
	if device.ping(n.FarEnd().Proof, 500*time.Millisecond) {
		t.Error("the node answers after the end")
	}
}

// A fresh prekey takes over without the old one going first.
func TestRekey(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "test")
	n, r := newNode(t, a, nil)
	p := newPair(n, 1, keys.TCP(22))
	admit(t, n, a, &p.grant)
	old := up(t, n.FarEnd(), p.device, p.devAddr())
	operator := up(t, n.FarEnd(), p.operator, p.opAddr())
	old.serve(t, 22)
	if !old.ping(n.FarEnd().Proof, patience) || !operator.reaches(old.address, keys.TCP(22), patience) {
		t.Fatal("no way under the first key")
	}
	wait(t, r, KindProved, p.grant.Session)
	fresh := keys.NewPrivateKey()
	admit(t, n, a, p.next(func(g *keys.Grant) { g.Prekey = fresh.Public() }))
	if !operator.reaches(old.address, keys.TCP(22), patience) {
		t.Error("the old key went before the new one came")
	}
	if r.count(KindProved) != 1 {
		t.Error("the old key proved the new one")
	}
	renewed := up(t, n.FarEnd(), fresh, p.devAddr())
	renewed.serve(t, 22)
	if !renewed.ping(n.FarEnd().Proof, patience) {
		t.Fatalf("no proof under the new key: %+v, %+v", n.Stats(), n.Sessions())
	}
	eventually(t, "a second proof", func() bool { return r.count(KindProved) == 2 })
	if !operator.reaches(renewed.address, keys.TCP(22), patience) {
		t.Error("no way under the new key")
	}
	if old.ping(n.FarEnd().Proof, time.Second) {
		t.Error("the old key still works")
	}
	if err := n.End(t.Context(), p.grant.Session); err != nil {
		t.Fatal(err)
	}
	if renewed.ping(n.FarEnd().Proof, 500*time.Millisecond) {
		t.Error("the new key outlives the session")
	}
}
