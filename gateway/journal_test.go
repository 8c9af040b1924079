package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/internal/journal"
	"github.com/boothwire/boothwire/keys"
)

// lives is one node over many of its processes, which are killed: none is asked to
// end before the next begins.
type lives struct {
	t     testing.TB
	a     *authority
	store keys.Store
	path  string
	clock clock
}

func newLives(t testing.TB, a *authority) *lives {
	return &lives{t: t, a: a, store: keys.NewMemory(), path: filepath.Join(t.TempDir(), "journal"), clock: systemClock()}
}

// next is the node's next process, which has the journal as it is at this moment.
func (l *lives) next() (*Node, *memoryPlane) {
	l.t.Helper()
	b, err := os.ReadFile(l.path)
	if err == nil {
		l.path = filepath.Join(l.t.TempDir(), "journal")
		err = os.WriteFile(l.path, b, 0o600)
	}
	if err != nil && !os.IsNotExist(err) {
		l.t.Fatal(err)
	}
	p, opener := newMemoryPlane()
	n, err := open(context.Background(), "wg-bj-01", l.a.roots, &Config{Store: l.store, Journal: l.path}, opener, l.clock)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { n.Close() })
	return n, p
}

// holds are the sessions in force and their revs.
func holds(n *Node) map[string]int {
	m := make(map[string]int)
	for _, s := range n.Sessions() {
		m[s.ID] = s.Rev
	}
	return m
}

func TestJournal(t *testing.T) {
	a := newAuthority(t, "test")
	l := newLives(t, a)
	n, plane := l.next()
	if plane.left != 0 {
		t.Errorf("a node without a past: settled after %d", plane.left)
	}
	var p [8]*pair
	for i := range p {
		p[i] = newPair(n, i+1, keys.TCP(22))
	}
	for _, p := range p[:5] {
		admit(t, n, a, &p.grant)
	}
	firstKey := p[1].grant.Prekey
	second := keys.Operator{ID: "second", Key: keys.NewPrivateKey().Public(), Address: netip.MustParseAddr("10.166.250.1"), Ports: []keys.Port{keys.TCP(22)}}
	admit(t, n, a, p[1].next(func(g *keys.Grant) {
		g.Prekey = keys.NewPrivateKey().Public()
		g.Operators = append(g.Operators, second)
	}))
	admit(t, n, a, p[1].next(func(g *keys.Grant) { g.Operators = g.Operators[:1] })) // who left stays away
	if err := n.End(t.Context(), p[2].grant.Session); err != nil {
		t.Fatal(err)
	}
	if err := n.End(t.Context(), p[5].grant.Session); err != nil { // it never was here
		t.Fatal(err)
	}
	admit(t, n, a, p[3].next(func(g *keys.Grant) { g.Far.Node = "wg-sh-01" }))
	since := n.Sessions()[0].Installed

	// Twice: what was found again is remembered as what came.
	for range 2 {
		n, plane = l.next()
		want := map[string]int{p[0].grant.Session: 1, p[1].grant.Session: 3, p[4].grant.Session: 1}
		if got := holds(n); !maps.Equal(got, want) {
			t.Fatalf("found again %v, want %v", got, want)
		}
		if plane.left != 3 || plane.sets != 3 {
			t.Errorf("settled after %d of %d", plane.left, plane.sets)
		}
		if s, ok := plane.session(p[1].grant.Session); !ok || len(s.Operators) != 1 || s.Device.Key != p[1].grant.Prekey {
			t.Errorf("the plane has %+v", s)
		}
		if s := n.Stats(); s.Restored != 3 || s.Closed != 3 || s.Journal == nil || s.Journal.Size == 0 || s.Journal.Fault != "" {
			t.Errorf("stats %+v", s)
		}
		if got := n.Sessions()[0].Installed; got.Sub(since).Abs() > time.Millisecond {
			t.Errorf("installed at %v, was %v", got, since)
		}
	}
	for _, h := range n.holding() {
		if !h.Fresh {
			t.Errorf("%+v is as if nothing had happened", h)
		}
	}
	n.seen.add(KindHandshake, p[0].grant.Session)
	for _, h := range n.holding() {
		if h.Fresh != (h.Session != p[0].grant.Session) {
			t.Errorf("after the first's handshake: %+v", h)
		}
	}
	refused := func(what, code string, g *keys.Grant) {
		t.Helper()
		if err := n.Admit(t.Context(), a.sign(t, g)); codeOf(err) != code {
			t.Errorf("%s: %v, want %s", what, err, code)
		}
	}
	refused("an ended session", keys.ReasonClosed, p[2].next(nil))
	refused("one that ended before it came", keys.ReasonClosed, p[5].next(nil))
	p[3].grant.Far.Node, p[3].grant.Rev = "wg-bj-01", 2
	refused("one that moved away, of the rev that moved it", keys.ReasonClosed, &p[3].grant)
	refused("a lower rev", keys.ReasonReplayed, func() *keys.Grant { g := p[1].grant; g.Rev = 2; return &g }())
	p[6].grant.Prekey = firstKey
	refused("a key that a session had before", keys.ReasonUsedPrekey, &p[6].grant)
	p[6].grant.Prekey = p[2].grant.Prekey
	refused("the key of an ended session", keys.ReasonUsedPrekey, &p[6].grant)
	p[7].grant.Addresses = p[0].grant.Addresses
	refused("an address in use", keys.ReasonBusy, &p[7].grant)
	// What goes on: the same again is a no-op, a later rev counts, and it comes back from
	// where it moved to.
	admit(t, n, a, &p[0].grant)
	admit(t, n, a, p[0].next(nil))
	admit(t, n, a, p[3].next(nil))
	n, _ = l.next()
	want := map[string]int{p[0].grant.Session: 2, p[1].grant.Session: 3, p[3].grant.Session: 3, p[4].grant.Session: 1}
	if got := holds(n); !maps.Equal(got, want) {
		t.Errorf("found again %v, want %v", got, want)
	}
	// A node that ends well remembers no less.
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n, _ = l.next()
	if got := holds(n); !maps.Equal(got, want) {
		t.Errorf("found again after Close %v, want %v", got, want)
	}
}

// What a plane did not take is not tried again, and what it dropped stays dropped.
func TestJournalOfARefusal(t *testing.T) {
	a := newAuthority(t, "test")
	l := newLives(t, a)
	n, plane := l.next()
	p, q := newPair(n, 1), newPair(n, 2)
	admit(t, n, a, &p.grant)
	plane.fail = true
	for _, token := range [][]byte{a.sign(t, p.next(nil)), a.sign(t, &q.grant)} {
		if err := n.Admit(t.Context(), token); err == nil {
			t.Fatal("a plane that fails took a session")
		}
	}
	n, _ = l.next()
	if got := holds(n); len(got) != 0 {
		t.Errorf("found again %v", got)
	}
	if err := n.Admit(t.Context(), a.sign(t, p.next(nil))); codeOf(err) != keys.ReasonClosed {
		t.Errorf("the session that the plane dropped: %v", err)
	}
	admit(t, n, a, &q.grant)
}

// The journal is believed no further than whoever speaks to the node.
func TestJournalIsVerified(t *testing.T) {
	a, stranger := newAuthority(t, "test"), newAuthority(t, "test")
	l := newLives(t, a)
	n, _ := l.next()
	good := newPair(n, 1)
	tokens := map[string][]byte{good.grant.Session: a.sign(t, &good.grant)}
	change := func(i int, change func(g *keys.Grant)) *keys.Grant {
		g := newPair(n, i).grant
		change(&g)
		return &g
	}
	for i, g := range []*keys.Grant{
		change(2, func(g *keys.Grant) { g.Far.Node = "wg-sh-01" }),
		change(3, func(g *keys.Grant) { g.Far.Key = keys.NewPrivateKey().Public() }),
		change(4, func(g *keys.Grant) { g.End = time.Now().Add(-time.Second) }),
		change(5, func(g *keys.Grant) { g.Addresses[0] = netip.MustParseAddr("10.167.0.9") }),
		change(6, func(g *keys.Grant) { g.Far.Proof = netip.MustParseAddr("10.166.0.9") }),
	} {
		tokens[fmt.Sprint("session-", i+2)] = a.sign(t, g)
	}
	other := newPair(n, 7).grant
	tokens["session-7"] = stranger.sign(t, &other)
	tokens["session-8"] = a.sign(t, &good.grant) // under another name
	tokens["session-9"] = a.down(t, "session-9")
	tokens["session-10"] = []byte("no token")
	lines := make(map[string][]byte)
	for session, token := range tokens {
		lines[session] = must(json.Marshal(remembered{At: time.Now().UnixMilli(), Grant: string(token)}))
	}
	lines["session-11"] = []byte(`{"at":1,"until":2}`) // long over
	lines["session-12"] = []byte(`{"at":1`)
	lines["session-13"] = []byte(`{"at":1,"Grant":"x"}`)
	lines["no/session"] = must(json.Marshal(remembered{Until: time.Now().Add(time.Hour).UnixMilli()}))
	n.Close()
	j := must(journal.Open(l.path, zap.NewNop()))
	for session, line := range lines {
		j.Set(session, line)
	}
	j.Close()
	n, _ = l.next()
	if got := slices.Collect(maps.Keys(holds(n))); len(got) != 1 || got[0] != good.grant.Session || n.Stats().Closed != 0 {
		t.Errorf("found again %v, and %d over", got, n.Stats().Closed)
	}
	n.Close()
	j = must(journal.Open(l.path, zap.NewNop()))
	defer j.Close()
	if s := j.Stats(); s.Keys != 1 {
		t.Errorf("%d lines are kept", s.Keys)
	}
}

// However the wall clock was set while the node was away, no session outlives its end,
// and none is cut that could have gone on.
func TestJournalAndTheClock(t *testing.T) {
	const life = time.Hour
	for _, tc := range []struct {
		name  string
		away  time.Duration // how long the node really was
		step  time.Duration // by which the clock was set meanwhile
		left  time.Duration // that the session then has; 0: it is gone
		later time.Duration // of the wall clock, set after the node is back
		gone  bool          // and what comes of it
	}{
		{"nothing was set", 10 * time.Minute, 0, 50 * time.Minute, 0, false},
		{"the end came meanwhile", 61 * time.Minute, 0, 0, 0, false},
		{"set forward, within the session", 0, 30 * time.Minute, 30 * time.Minute, 0, false},
		{"set forward, beyond its end", 0, 2 * time.Hour, 0, 0, false},
		{"set back", 0, -24 * time.Hour, life, 0, false},
		{"set back, then right again", 0, -24 * time.Hour, life, 24 * time.Hour, false},
		{"set forward when the node is back", 0, 0, life, 2 * time.Hour, true},
		{"set back when the node is back", 0, 0, life, -2 * time.Hour, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := newAuthority(t, "test")
			l := newLives(t, a)
			start := time.Now().Truncate(time.Second).UTC()
			var wall, mono atomic.Int64
			l.clock = func() instant {
				return instant{wall: start.Add(time.Duration(wall.Load())), mono: time.Duration(mono.Load())}
			}
			n, _ := l.next()
			p := newPair(n, 1)
			p.grant.End = start.Add(life)
			admit(t, n, a, &p.grant)
			over := newPair(n, 2)
			over.grant.End = start.Add(life)
			admit(t, n, a, &over.grant)
			if err := n.End(t.Context(), over.grant.Session); err != nil {
				t.Fatal(err)
			}
			wall.Add(int64(tc.away + tc.step))
			mono.Store(0) // it begins anew with each process
			n, _ = l.next()
			if tc.left == 0 {
				if got := holds(n); len(got) != 0 {
					t.Errorf("found again %v", got)
				}
				return
			}
			in := func() bool { return len(n.Sessions()) == 1 }
			if !in() {
				t.Fatal("not found again")
			}
			if err := n.Admit(t.Context(), a.sign(t, over.next(nil))); codeOf(err) != keys.ReasonClosed {
				t.Errorf("the session that was over: %v", err)
			}
			wall.Add(int64(tc.later))
			n.look()
			if tc.gone {
				if in() {
					t.Error("it outlived the clock's step beyond its end")
				}
				return
			}
			for _, at := range []struct {
				pass time.Duration
				in   bool
			}{{tc.left - time.Second, true}, {2 * time.Second, false}} {
				wall.Add(int64(at.pass))
				mono.Add(int64(at.pass))
				n.look()
				if in() != at.in {
					t.Fatalf("%v later in force: %t", at.pass, in())
				}
			}
		})
	}
}

func FuzzRecall(f *testing.F) {
	a := newAuthority(f, "test")
	store := keys.NewMemory()
	_, opener := newMemoryPlane()
	n := must(open(f.Context(), "wg-bj-01", a.roots, &Config{Store: store}, opener, systemClock()))
	p := newPair(n, 1, keys.TCP(22))
	n.Close()
	f.Add([]byte(must(json.Marshal(remembered{At: 1, Grant: string(a.sign(f, &p.grant)), Since: 1, Keys: []keys.PublicKey{p.grant.Prekey}}))))
	f.Add([]byte(must(json.Marshal(remembered{At: 1, Until: time.Now().Add(time.Hour).UnixMilli(), Moved: 2, Keys: []keys.PublicKey{p.grant.Prekey}}))))
	f.Add([]byte(`{"at":-9223372036854775808,"until":9223372036854775807}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		_, opener := newMemoryPlane()
		n, err := open(t.Context(), "wg-bj-01", a.roots, &Config{Store: store}, opener, systemClock())
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		n.mu.Lock()
		n.recall(maps.All(map[string][]byte{p.grant.Session: value}))
		n.mu.Unlock()
		n.look()
		for _, s := range n.Sessions() {
			if s.ID != p.grant.Session || s.Device != p.grant.Device || !s.End.Equal(p.grant.End) {
				t.Errorf("in force: %+v", s)
			}
		}
	})
}
