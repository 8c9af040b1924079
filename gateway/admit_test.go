package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// newQuietNode opens a node without packets.
func newQuietNode(t testing.TB, a *authority, clock clock) (*Node, *recorder, *memoryPlane) {
	t.Helper()
	r := &recorder{}
	p, opener := newMemoryPlane()
	if clock == nil {
		clock = systemClock()
	}
	n, err := open(context.Background(), "wg-bj-01", a.roots, &Config{Observe: r.observe}, opener, clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, r, p
}

func TestRefusals(t *testing.T) {
	a, stranger, elsewhere := newAuthority(t, "test"), newAuthority(t, "test"), newAuthority(t, "elsewhere")
	for _, c := range []struct {
		name   string
		code   string
		token  func(n *Node, p *pair) []byte
		before func(n *Node, p *pair) // admitted before
	}{
		{"not a token", keys.ReasonMalformed, func(*Node, *pair) []byte { return []byte("{}") }, nil},
		{"empty", keys.ReasonMalformed, func(*Node, *pair) []byte { return nil }, nil},
		{"forged", keys.ReasonForged, func(n *Node, p *pair) []byte {
			token := a.sign(t, &p.grant)
			other := *p
			other.grant.Lifetime = 2 * time.Hour
			return append(token[:bytes.LastIndexByte(token, '.')], a.sign(t, &other.grant)[bytes.LastIndexByte(a.sign(t, &other.grant), '.'):]...)
		}, nil},
		{"other roots", keys.ReasonUnknownSigner, func(n *Node, p *pair) []byte { return stranger.sign(t, &p.grant) }, nil},
		{"other deployment", keys.ReasonWrongIssuer, func(n *Node, p *pair) []byte { return elsewhere.sign(t, &p.grant) }, nil},
		{"a down", keys.ReasonWrongKind, func(n *Node, p *pair) []byte { return a.down(t, p.grant.Session) }, nil},
		{"expired", keys.ReasonExpired, func(n *Node, p *pair) []byte { p.grant.End = time.Now().Add(-time.Second); return a.sign(t, &p.grant) }, nil},
		{"no end", keys.ReasonExpired, func(n *Node, p *pair) []byte { p.grant.End = time.Time{}; return a.sign(t, &p.grant) }, nil},
		{"another node", keys.ReasonWrongNode, func(n *Node, p *pair) []byte { p.grant.Far.Node = "wg-sh-01"; return a.sign(t, &p.grant) }, nil},
		{"another key of this node", keys.ReasonWrongNode, func(n *Node, p *pair) []byte {
			p.grant.Far.Key = keys.NewPrivateKey().Public()
			return a.sign(t, &p.grant)
		}, nil},
		{"end to end", keys.ReasonWrongNode, func(n *Node, p *pair) []byte { p.grant.Far.Node = ""; return a.sign(t, &p.grant) }, nil},
		{"another proof address", keys.ReasonWrongNode, func(n *Node, p *pair) []byte {
			p.grant.Far.Proof = netip.MustParseAddr("10.166.0.2")
			return a.sign(t, &p.grant)
		}, nil},
		{"device outside the pool", keys.ReasonMalformed, func(n *Node, p *pair) []byte {
			p.grant.Addresses[0] = netip.MustParseAddr("10.167.0.9")
			return a.sign(t, &p.grant)
		}, nil},
		{"operator outside the pool", keys.ReasonMalformed, func(n *Node, p *pair) []byte {
			p.grant.Operators[0].Address = netip.MustParseAddr("192.168.1.1")
			return a.sign(t, &p.grant)
		}, nil},
		{"operator with the node's key", keys.ReasonMalformed, func(n *Node, p *pair) []byte {
			p.grant.Operators[0].Key = n.key
			return a.sign(t, &p.grant)
		}, nil},
		{"operator with the device's key", keys.ReasonMalformed, func(n *Node, p *pair) []byte {
			p.grant.Operators[0].Key = p.grant.Prekey
			return a.sign(t, &p.grant)
		}, nil},
		{"two operators with one key", keys.ReasonMalformed, func(n *Node, p *pair) []byte {
			p.grant.Operators = append(p.grant.Operators, keys.Operator{ID: "b", Key: p.operator.Public(), Address: netip.MustParseAddr("10.166.250.1")})
			return a.sign(t, &p.grant)
		}, nil},
		{"a used prekey", keys.ReasonUsedPrekey, func(n *Node, p *pair) []byte { return a.sign(t, &p.grant) }, func(n *Node, p *pair) {
			other := newPair(n, 2)
			other.grant.Prekey = p.grant.Prekey
			admit(t, n, a, &other.grant)
		}},
		{"the prekey of a session that is over", keys.ReasonUsedPrekey, func(n *Node, p *pair) []byte { return a.sign(t, &p.grant) }, func(n *Node, p *pair) {
			other := newPair(n, 2)
			other.grant.Prekey = p.grant.Prekey
			admit(t, n, a, &other.grant)
			n.End(t.Context(), other.grant.Session)
		}},
		{"an earlier prekey of another session", keys.ReasonUsedPrekey, func(n *Node, p *pair) []byte { return a.sign(t, &p.grant) }, func(n *Node, p *pair) {
			other := newPair(n, 2)
			other.grant.Prekey = p.grant.Prekey
			admit(t, n, a, &other.grant)
			admit(t, n, a, other.next(func(g *keys.Grant) { g.Prekey = keys.NewPrivateKey().Public() }))
		}},
		{"a used operator key", keys.ReasonUsedPrekey, func(n *Node, p *pair) []byte { return a.sign(t, &p.grant) }, func(n *Node, p *pair) {
			other := newPair(n, 2)
			other.grant.Operators[0].Key = p.operator.Public()
			admit(t, n, a, &other.grant)
		}},
		{"an operator's key as prekey", keys.ReasonUsedPrekey, func(n *Node, p *pair) []byte { return a.sign(t, &p.grant) }, func(n *Node, p *pair) {
			other := newPair(n, 2)
			other.grant.Operators[0].Key = p.grant.Prekey
			admit(t, n, a, &other.grant)
		}},
		{"an address in use", keys.ReasonBusy, func(n *Node, p *pair) []byte { return a.sign(t, &p.grant) }, func(n *Node, p *pair) {
			other := newPair(n, 2)
			other.grant.Addresses = p.grant.Addresses
			admit(t, n, a, &other.grant)
		}},
		{"closed", keys.ReasonClosed, func(n *Node, p *pair) []byte { return a.sign(t, p.next(nil)) }, func(n *Node, p *pair) {
			admit(t, n, a, &p.grant)
			n.End(t.Context(), p.grant.Session)
		}},
		{"closed before it came", keys.ReasonClosed, func(n *Node, p *pair) []byte { return a.sign(t, &p.grant) }, func(n *Node, p *pair) {
			n.End(t.Context(), p.grant.Session)
		}},
		{"a lower rev", keys.ReasonReplayed, func(n *Node, p *pair) []byte { p.grant.Rev = 1; return a.sign(t, &p.grant) }, func(n *Node, p *pair) {
			admit(t, n, a, p.next(nil))
		}},
		{"the same rev with other content", keys.ReasonReplayed, func(n *Node, p *pair) []byte {
			p.grant.Operators[0].Ports = []keys.Port{keys.TCP(445)}
			return a.sign(t, &p.grant)
		}, func(n *Node, p *pair) { admit(t, n, a, &p.grant) }},
		{"another device", keys.ReasonWrongDevice, func(n *Node, p *pair) []byte {
			return a.sign(t, p.next(func(g *keys.Grant) { g.Device = "kiosk-9" }))
		}, func(n *Node, p *pair) { admit(t, n, a, &p.grant) }},
		{"a move of another device's", keys.ReasonWrongNode, func(n *Node, p *pair) []byte {
			return a.sign(t, p.next(func(g *keys.Grant) { g.Device, g.Far.Node = "kiosk-9", "wg-sh-01" }))
		}, func(n *Node, p *pair) { admit(t, n, a, &p.grant) }},
		{"a move of a lower rev", keys.ReasonWrongNode, func(n *Node, p *pair) []byte {
			p.grant.Rev, p.grant.Far.Node = 1, "wg-sh-01"
			return a.sign(t, &p.grant)
		}, func(n *Node, p *pair) { admit(t, n, a, p.next(nil)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, r, plane := newQuietNode(t, a, nil)
			p := newPair(n, 1, keys.TCP(22))
			if c.before != nil {
				c.before(n, p)
			}
			held, sets := n.Sessions(), plane.sets
			err := n.Admit(t.Context(), c.token(n, p))
			var refused interface{ Code() string }
			if !errors.As(err, &refused) || refused.Code() != c.code {
				t.Fatalf("got %v, want code %s", err, c.code)
			}
			if r.count(KindRefused) != 1 || n.Stats().Refused != 1 {
				t.Error("the refusal was not reported once")
			}
			if e, _ := r.find(KindRefused, ""); e.Code != c.code {
				t.Errorf("reported as %q", e.Code)
			}
			after := n.Sessions()
			if plane.sets != sets || len(after) != len(held) || len(held) == 1 && (after[0].Rev != held[0].Rev || after[0].Device != held[0].Device) {
				t.Errorf("a refusal changed something: %+v, was %+v", after, held)
			}
		})
	}
}

func TestRevs(t *testing.T) {
	a := newAuthority(t, "test")
	n, r, plane := newQuietNode(t, a, nil)
	p := newPair(n, 1, keys.TCP(22))
	token := a.sign(t, &p.grant)
	for range 3 { // the same again is a no-op, and is confirmed
		if err := n.Admit(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	if plane.sets != 1 || r.count(KindInstalled) != 3 {
		t.Errorf("%d sets, %d installed", plane.sets, r.count(KindInstalled))
	}
	n.seen.add(KindProved, p.grant.Session)
	wait(t, r, KindProved, p.grant.Session)

	// A new operator and another port, in place.
	second := keys.NewPrivateKey().Public()
	admit(t, n, a, p.next(func(g *keys.Grant) {
		g.Operators[0].Ports = []keys.Port{keys.UDP(3389)}
		g.Operators = append(g.Operators, keys.Operator{ID: "second", Key: second, Address: netip.MustParseAddr("10.166.250.1"), Ports: []keys.Port{keys.TCP(22)}})
		g.End = g.End.Add(time.Hour)
	}))
	s, _ := plane.session(p.grant.Session)
	if len(s.Operators) != 2 || s.Operators[0].Ports[0].Proto != 17 || s.Operators[0].Ports[0].Number != 3389 || !s.End.Equal(p.grant.End) {
		t.Errorf("installed %+v", s)
	}
	if got := n.Sessions()[0]; got.Rev != 2 || got.Operators != 2 || got.Proved.IsZero() {
		t.Errorf("session %+v", got)
	}
	// A new key has to prove itself anew.
	admit(t, n, a, p.next(func(g *keys.Grant) { g.Prekey = keys.NewPrivateKey().Public() }))
	if got := n.Sessions()[0]; !got.Proved.IsZero() || got.Rev != 3 {
		t.Errorf("after a new key: %+v", got)
	}
	// The operator leaves; his address is free for another session, his key is not.
	admit(t, n, a, p.next(func(g *keys.Grant) { g.Operators = g.Operators[:1] }))
	q := newPair(n, 2)
	q.grant.Operators[0].Address = netip.MustParseAddr("10.166.250.1")
	admit(t, n, a, &q.grant)
	q = newPair(n, 3)
	q.grant.Operators[0].Key = second
	if err := n.Admit(t.Context(), a.sign(t, &q.grant)); codeOf(err) != keys.ReasonUsedPrekey {
		t.Errorf("a key that was another session's: %v", err)
	}
	if s := n.Stats(); s.Sessions != 2 || s.Peers != 4 || s.Admitted != 5 {
		t.Errorf("stats %+v", s)
	}
}

// What was seen before a rev changed the key is not said of the new key.
func TestSightingsBelongToTheirRev(t *testing.T) {
	a := newAuthority(t, "test")
	n, r, _ := newQuietNode(t, a, nil)
	p := newPair(n, 1)
	admit(t, n, a, &p.grant)
	g := must(n.roots.VerifyGrant(a.sign(t, p.next(func(g *keys.Grant) { g.Prekey = keys.NewPrivateKey().Public() }))))
	n.mu.Lock()
	n.seen.add(KindProved, p.grant.Session)
	err := n.admit(&offer{grant: g})
	n.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if e := wait(t, r, KindProved, p.grant.Session); e.Rev != 1 {
		t.Errorf("proved as rev %d", e.Rev)
	}
	if got := n.Sessions()[0]; !got.Proved.IsZero() {
		t.Error("the new key is proved by the old one's packet")
	}
}

func TestTraffic(t *testing.T) {
	a := newAuthority(t, "test")
	n, _, _ := newQuietNode(t, a, nil)
	p := newPair(n, 1)
	admit(t, n, a, &p.grant)
	last := make(map[string]uint64)
	if list := n.traffic(last); len(list) != 1 || list[0].Kind != KindBytes || list[0].Rx != 1 || list[0].Tx != 2 || list[0].Session != p.grant.Session {
		t.Errorf("first: %+v", list)
	}
	if list := n.traffic(last); len(list) != 0 {
		t.Errorf("unchanged: %+v", list)
	}
	if err := n.End(t.Context(), p.grant.Session); err != nil {
		t.Fatal(err)
	}
	if list := n.traffic(last); len(list) != 0 || len(last) != 0 {
		t.Errorf("of a session that is over: %+v, %v", list, last)
	}
}

// A node on which thousands of sessions ended remembers one more that was never there.
func TestEndOfUnknownAmongMany(t *testing.T) {
	a := newAuthority(t, "test")
	n, _, _ := newQuietNode(t, a, nil)
	n.mu.Lock()
	for i := range 2 * strangers {
		n.closed[fmt.Sprint("over-", i)] = tombstone{until: time.Now().Add(time.Hour)}
	}
	n.mu.Unlock()
	p := newPair(n, 1)
	if err := n.End(t.Context(), p.grant.Session); err != nil {
		t.Fatal(err)
	}
	if err := n.Admit(t.Context(), a.sign(t, &p.grant)); codeOf(err) != keys.ReasonClosed {
		t.Errorf("a grant that comes after its down: %v", err)
	}
	for i := range 2 * strangers { // but of such no more than so many
		if err := n.End(t.Context(), fmt.Sprint("never-here-", i)); err != nil {
			t.Fatal(err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.closed) != 3*strangers || n.strange != strangers {
		t.Errorf("%d are remembered, %d were never here", len(n.closed), n.strange)
	}
	n.forget(p.grant.Session, n.closed[p.grant.Session])
	if n.strange != strangers-1 {
		t.Errorf("%d were never here after one is forgotten", n.strange)
	}
}

func TestMove(t *testing.T) {
	a := newAuthority(t, "test")
	n, r, plane := newQuietNode(t, a, nil)
	p := newPair(n, 1)
	admit(t, n, a, &p.grant)
	far := p.grant.Far
	admit(t, n, a, p.next(func(g *keys.Grant) { g.Far.Node, g.Far.Key = "wg-sh-01", keys.NewPrivateKey().Public() }))
	if e := wait(t, r, KindClosed, p.grant.Session); e.Code != CodeMoved {
		t.Errorf("closed with %q", e.Code)
	}
	if _, ok := plane.session(p.grant.Session); ok || len(n.Sessions()) != 0 {
		t.Error("a moved session is in force")
	}
	// A rev from before the move does not bring it back, a later one does.
	p.grant.Far = far
	if err := n.Admit(t.Context(), a.sign(t, &p.grant)); codeOf(err) != keys.ReasonClosed {
		t.Errorf("the rev of the move, for this node: %v", err)
	}
	admit(t, n, a, p.next(nil))
	if len(n.Sessions()) != 1 {
		t.Error("a session that moved back is not in force")
	}
	// Moved and then ended, it stays away.
	admit(t, n, a, p.next(func(g *keys.Grant) { g.Far.Node = "wg-sh-01" }))
	if err := n.End(t.Context(), p.grant.Session); err != nil {
		t.Fatal(err)
	}
	p.grant.Far = far
	if err := n.Admit(t.Context(), a.sign(t, p.next(nil))); codeOf(err) != keys.ReasonClosed {
		t.Errorf("moved, ended, moved back: %v", err)
	}
}

// A session ends at its time though nobody says a word, and is forgotten no
// sooner than its grants are worthless.
func TestEndOfTime(t *testing.T) {
	a := newAuthority(t, "test")
	synctest.Test(t, func(t *testing.T) {
		n, r, plane := newQuietNode(t, a, nil)
		start := time.Now()
		p, q := newPair(n, 1), newPair(n, 2)
		admit(t, n, a, &p.grant)
		admit(t, n, a, &q.grant)
		admit(t, n, a, q.next(func(g *keys.Grant) { g.End = g.End.Add(time.Hour) })) // extended
		time.Sleep(p.grant.End.Sub(start) - time.Nanosecond)
		synctest.Wait()
		if len(n.Sessions()) != 2 {
			t.Fatal("ended early")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if e, ok := r.find(KindClosed, p.grant.Session); !ok || e.Code != CodeExpired || e.Rx != 1 || e.Tx != 2 {
			t.Errorf("closed: %v %+v", ok, e)
		}
		if _, ok := plane.session(p.grant.Session); ok {
			t.Error("still in the plane")
		}
		if got := n.Sessions(); len(got) != 1 || got[0].ID != q.grant.Session {
			t.Errorf("in force: %+v", got)
		}
		if s := n.Stats(); s.Closed != 0 || len(n.keys) != 2 {
			t.Errorf("a session whose grants are worthless is remembered: %+v, %d keys", s, len(n.keys))
		}
		// One that is ended before its time is remembered until then.
		n.End(t.Context(), q.grant.Session)
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if n.Stats().Closed != 1 {
			t.Error("forgotten early")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n.Stats().Closed != 0 || len(n.keys) != 0 || len(n.addresses) != 0 {
			t.Errorf("left behind: %+v, %d keys, %d addresses", n.Stats(), len(n.keys), len(n.addresses))
		}
		n.Close()
	})
}

// Set forward, the wall clock ends sessions; set back, it lends them no time.
func TestClockStep(t *testing.T) {
	for _, c := range []struct {
		name  string
		step  time.Duration
		after time.Duration
		over  bool
	}{
		{"forward past the end", 2 * time.Hour, 11 * time.Second, true},
		{"forward, short of the end", 30 * time.Minute, 20 * time.Minute, false},
		{"forward, then its end", 30 * time.Minute, 31 * time.Minute, true},
		{"back, before the end", -24 * time.Hour, 59 * time.Minute, false},
		{"back, at the end", -24 * time.Hour, 61 * time.Minute, true},
		{"slewed", 500 * time.Millisecond, 59 * time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAuthority(t, "test")
			synctest.Test(t, func(t *testing.T) {
				system := systemClock()
				var step atomic.Int64
				n, r, _ := newQuietNode(t, a, func() instant {
					now := system()
					now.wall = now.wall.Add(time.Duration(step.Load()))
					return now
				})
				p := newPair(n, 1)
				admit(t, n, a, &p.grant)
				synctest.Wait()
				step.Store(int64(c.step))
				time.Sleep(c.after)
				synctest.Wait()
				if _, over := r.find(KindClosed, p.grant.Session); over != c.over {
					t.Errorf("over: %v, want %v", over, c.over)
				}
				n.Close()
			})
		})
	}
}

func TestPlaneFails(t *testing.T) {
	a := newAuthority(t, "test")
	n, r, plane := newQuietNode(t, a, nil)
	p := newPair(n, 1)
	admit(t, n, a, &p.grant)
	plane.fail = true
	if err := n.Admit(t.Context(), a.sign(t, p.next(nil))); err == nil {
		t.Fatal("no error")
	}
	if e, ok := r.find(KindClosed, p.grant.Session); !ok || e.Code != "failed" {
		t.Error("a session that the plane lost is held in force")
	}
	q := newPair(n, 2)
	if err := n.Admit(t.Context(), a.sign(t, &q.grant)); err == nil || len(n.Sessions()) != 0 || len(n.addresses) != 0 {
		t.Error("a session that the plane never had is in force")
	}
}

func TestClosedNode(t *testing.T) {
	a := newAuthority(t, "test")
	n, _, _ := newQuietNode(t, a, nil)
	p := newPair(n, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Admit(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := errors.Join(n.Close(), n.Close()); err != nil {
		t.Fatal(err)
	}
	if err := n.Admit(t.Context(), a.sign(t, &p.grant)); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := n.End(t.Context(), "x"); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestSignedDown(t *testing.T) {
	a, stranger := newAuthority(t, "test"), newAuthority(t, "test")
	n, r, _ := newQuietNode(t, a, nil)
	p := newPair(n, 1)
	admit(t, n, a, &p.grant)
	for name, token := range map[string][]byte{
		"stranger": stranger.down(t, p.grant.Session), "grant": a.sign(t, &p.grant), "bare": nil, "no session": a.down(t, ""),
	} {
		if err := n.endSigned(p.grant.Session, token); codeOf(err) == "failed" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(n.Sessions()) != 1 || r.count(KindRefused) != 4 {
		t.Fatal("a down that is none had an effect")
	}
	if err := n.endSigned("", a.down(t, p.grant.Session)); err != nil || len(n.Sessions()) != 0 {
		t.Error(err)
	}
	for i := range strangers + 100 { // downs of the unknown are bounded
		if err := n.End(t.Context(), fmt.Sprint("unknown-", i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.Stats().Closed; got != 1+strangers { // beside the one that was here
		t.Errorf("%d remembered", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	a := newAuthority(t, "test")
	for name, c := range map[string]struct {
		node  string
		roots *keys.Roots
		cfg   Config
	}{
		"name":        {"a/b", a.roots, Config{}},
		"no name":     {"", a.roots, Config{}},
		"no roots":    {"n", nil, Config{}},
		"other plane": {"n", a.roots, Config{Plane: "dpdk"}},
		"proof":       {"n", a.roots, Config{Proof: netip.MustParseAddr("10.1.1.1")}},
		"mtu":         {"n", a.roots, Config{MTU: 100}},
	} {
		n, err := Open(t.Context(), c.node, c.roots, &c.cfg)
		if err == nil {
			n.Close()
			t.Errorf("%s: opened", name)
		}
		if name == "other plane" && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An end beyond what a time.Duration can say is an end all the same.
func TestFarEnd(t *testing.T) {
	a := newAuthority(t, "test")
	n, _, _ := newQuietNode(t, a, nil)
	p := newPair(n, 1)
	p.grant.End = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	admit(t, n, a, &p.grant)
	n.look()
	if len(n.Sessions()) != 1 {
		t.Error("it is over")
	}
	if err := n.End(t.Context(), p.grant.Session); err != nil {
		t.Fatal(err)
	}
	n.look()
}
