package control

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

func relays(n int) []Relay {
	var list []Relay
	for i := range n {
		name := fmt.Sprintf("relay-%d", i+1)
		list = append(list, Relay{Name: name, URL: "https://" + name + ".example.com/relay", Key: keys.NewPrivateKey().Public()})
	}
	return list
}

func (w *world) roots() *keys.Roots {
	w.t.Helper()
	r, err := keys.ParseRoots(w.c.Issuer(), w.c.Roots()...)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// leg checks the legs of one end at all relays, and returns what their token says.
func (w *world) leg(what string, legs []keys.Relay, session string, leg int, ends ...keys.PublicKey) *keys.Token {
	w.t.Helper()
	if len(legs) != len(w.cfg.Relays) {
		w.t.Fatalf("%s: %d legs, want %d", what, len(legs), len(w.cfg.Relays))
	}
	for i, r := range w.cfg.Relays {
		if legs[i].URL != r.URL || legs[i].Key != r.Key || legs[i].Token != legs[0].Token {
			w.t.Errorf("%s: leg %d is %+v", what, i, legs[i])
		}
	}
	t, err := w.roots().VerifyToken([]byte(legs[0].Token))
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
	var names []string
	for _, r := range w.cfg.Relays {
		names = append(names, r.Name)
	}
	if t.Session != session || t.Leg != leg || !slices.Equal(t.Ends[:], ends) || !slices.Equal(t.Relays, names) {
		w.t.Errorf("%s: the token says %+v, want leg %d of %v", what, t, leg, ends)
	}
	return t
}

func (n *fakeNode) lastGrant(session string) (l nodeLine) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.lines {
		if o.Kind == lineGrant && o.Session == session {
			l = o
		}
	}
	return l
}

func TestRelaysOfNode(t *testing.T) {
	w := newWorld(t, &Config{Relays: relays(2), STUN: []string{"stun.example.com:3478"}, Up: 1e6, Down: 3e6})
	n, b := w.pair()
	ann := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(ann.ID, client.Connected)
	bob, err := w.c.Client(op("bob")).OpenSession(t.Context(), "kiosk-1", &client.OpenRequest{Key: keys.NewPrivateKey().Public()})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device has both", func() bool { g := b.last(); return g.Rev == 2 })
	g, node := b.last(), n.key.Public()
	key := func(s client.Session) keys.PublicKey {
		i := slices.IndexFunc(bob.Operators, func(o client.Operator) bool { return o.ID == s.Operator })
		return bob.Operators[i].Key
	}
	tok := w.leg("device", g.Relays, ann.ID, 0, g.Prekey, node)
	if !tok.End.Equal(g.End) || tok.Rev != 2 || tok.Rate != 3e6 {
		t.Errorf("the device's token is %+v, its grant ends %v", tok, g.End)
	}
	w.leg("ann", ann.Relays, ann.ID, 0, key(ann), node)
	w.leg("bob", bob.Relays, ann.ID, 0, key(bob), node)
	if len(bob.STUN) != 1 || bob.STUN[0] != "stun.example.com:3478" {
		t.Errorf("STUN is %v", bob.STUN)
	}
	ofNode := func() {
		t.Helper()
		l := n.lastGrant(ann.ID)
		if len(l.Relays) != 6 {
			t.Fatalf("the node has %d legs", len(l.Relays))
		}
		w.leg("node, device", l.Relays[:2], ann.ID, 1, g.Prekey, node)
		w.leg("node, ann", l.Relays[2:4], ann.ID, 1, key(ann), node)
		w.leg("node, bob", l.Relays[4:], ann.ID, 1, key(bob), node)
	}
	ofNode()
	// Longer grants have later tokens.
	v, err := w.c.Client(op("ann")).ExtendSession(t.Context(), ann.ID, 3*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if later := w.leg("ann, extended", v.Relays, ann.ID, 0, key(ann), node); !later.End.After(tok.End) || later.Rev != 3 {
		t.Errorf("extended to %+v", later)
	}
	// A node that comes back to a control that was started anew has its legs.
	n.stop()
	w.restart()
	n.mu.Lock()
	n.lines = nil
	n.mu.Unlock()
	n.connect()
	n.follow()
	eventually(t, "its grant", func() bool { return n.lastGrant(ann.ID).Token != "" })
	ofNode()
}

func TestRelaysBetween(t *testing.T) {
	w := newWorld(t, &Config{Relays: relays(1)})
	b := w.able("kiosk-1")
	s := w.mustBetween(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	g, ann := b.last(), s.Operators[0].Key
	ofDevice := w.leg("device", g.Relays, s.ID, 1, ann, g.Prekey)
	tok := w.leg("ann", s.Relays, s.ID, 0, ann, g.Prekey)
	// A renewal has no room for tokens: they last as long as it may be renewed.
	if d := tok.End.Sub(s.Opened); d < time.Hour || d > time.Hour+2*time.Second || !tok.End.Equal(ofDevice.End) {
		t.Errorf("the token lasts %v, the device's until %v", d, ofDevice.End)
	}
	v, err := w.c.Client(op("ann")).RenewSession(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.leg("ann, renewed", v.Relays, s.ID, 0, ann, g.Prekey)
	if v, err = w.admin.Session(t.Context(), s.ID); err != nil || v.Relays != nil || v.Renewal != "" || v.Grant != "" {
		t.Errorf("others see %+v, %v", v, err)
	}
}

// What does not fit is left out, the least preferred first.
func TestRelaysThatFit(t *testing.T) {
	w := newWorld(t, &Config{Relays: relays(maxRelays)})
	n, b := w.pair()
	for i := range maxOperators {
		s, err := w.c.Client(op(fmt.Sprint("op", i))).OpenSession(t.Context(), "kiosk-1", &client.OpenRequest{Key: keys.NewPrivateKey().Public()})
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Relays) != maxRelays {
			t.Errorf("an operator has %d legs", len(s.Relays))
		}
	}
	eventually(t, "the device has all", func() bool { g := b.last(); return g != nil && g.Rev == maxOperators })
	g := b.last()
	if got := len(g.Relays); got == 0 || got == maxRelays {
		t.Errorf("%d relays fit", got)
	}
	for i, r := range g.Relays {
		if r.URL != w.cfg.Relays[i].URL {
			t.Errorf("relay %d is %s", i, r.URL)
		}
	}
	l := n.lastGrant(g.Session)
	line, err := json.Marshal(l)
	if err != nil || len(line) > 60<<10 || len(l.Relays)%(maxOperators+1) != 0 || len(l.Relays) == 0 {
		t.Errorf("a line of %d bytes with %d legs: %v", len(line), len(l.Relays), err)
	}
	cmd, err := signaling.Command{ID: g.Session + ".8.0", Action: signaling.Up, Server: "wg-1", Session: g.Session, Token: []byte(l.Token)}.MarshalJSON()
	t.Logf("%d relays in a command of %d bytes, a token of %d, %d legs in a line of %d", len(g.Relays), len(cmd), len(g.Relays[0].Token), len(l.Relays), len(line))
	if err != nil {
		t.Error(err)
	}
}

func TestRelaysRefused(t *testing.T) {
	good := relays(1)[0]
	with := func(f func(*Relay)) []Relay {
		r := good
		f(&r)
		return []Relay{r}
	}
	for name, cfg := range map[string]Config{
		"no name":      {Relays: with(func(r *Relay) { r.Name = "" })},
		"no key":       {Relays: with(func(r *Relay) { r.Key = keys.PublicKey{} })},
		"no TLS":       {Relays: with(func(r *Relay) { r.URL = "http://relay.example.com/relay" })},
		"no host":      {Relays: with(func(r *Relay) { r.URL = "https:///relay" })},
		"a password":   {Relays: with(func(r *Relay) { r.URL = "https://a:b@relay.example.com/relay" })},
		"a long URL":   {Relays: with(func(r *Relay) { r.URL += strings.Repeat("/", maxURL) })},
		"the same":     {Relays: []Relay{good, good}},
		"too many":     {Relays: relays(maxRelays + 1)},
		"no port":      {STUN: []string{"stun.example.com"}},
		"port 0":       {STUN: []string{"stun.example.com:0"}},
		"no STUN host": {STUN: []string{":3478"}},
		"a URL":        {STUN: []string{"stun:stun.example.com:3478"}},
	} {
		cfg.Store = keys.NewMemory()
		if c, err := Open(t.Context(), ":memory:", &cfg); err == nil {
			c.Close()
			t.Errorf("%s: opens", name)
		}
	}
}

// A signer that may sign no tokens is found out at the start.
func TestRelaysOutOfScope(t *testing.T) {
	store := keys.NewMemory()
	root, err := keys.OpenIdentity(store, nameRoot)
	if err != nil {
		t.Fatal(err)
	}
	id, err := keys.OpenIdentity(store, nameSigner)
	if err != nil {
		t.Fatal(err)
	}
	record, err := keys.SignRecord(root, keys.Record{ID: "c1", Key: id.Key(), Epoch: 1, Scope: []string{keys.TypeGrant, keys.TypeAsk, keys.TypeDown}})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Save(nameRecord, record); err != nil {
		t.Fatal(err)
	}
	if c, err := Open(t.Context(), ":memory:", &Config{Store: store, Relays: relays(1)}); err == nil {
		c.Close()
		t.Error("opens")
	}
	c, err := Open(t.Context(), ":memory:", &Config{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
