package keys

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// seeded returns the identity whose seed repeats b: the same in every run.
func seeded(b byte) *Identity {
	k := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
	return &Identity{load: func() ed25519.PrivateKey { return k }, key: IdentityKey(k.Public().(ed25519.PublicKey))}
}

// fixed returns the private key whose bytes repeat b.
func fixed(b byte) PrivateKey {
	var raw [32]byte
	for i := range raw {
		raw[i] = b
	}
	return hide(&raw)
}

// hands is a clock that a test moves.
type hands struct {
	mu  sync.Mutex
	now time.Duration
}

func (h *hands) read() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *hands) move(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now += d
}

var controlScope = []string{TypeGrant, TypeAsk, TypeDown, TypeRenew, TypeRelay}

// world is a deployment with one device in it.
type world struct {
	t      testing.TB
	root   *Identity
	online *Identity
	signer *Signer
	store  Store
	trust  Trust
	clock  *hands
	device *Device
}

func newWorld(t testing.TB, trust ...Trust) *world {
	t.Helper()
	w := &world{t: t, root: seeded(1), online: seeded(2), store: NewMemory(), clock: &hands{now: time.Hour}}
	if len(trust) > 0 {
		w.trust = trust[0]
	}
	w.trust.Roots = []string{w.root.Key().String()}
	w.signer = w.newSigner(w.root, w.online, Record{ID: "c1", Epoch: 1, Scope: controlScope})
	w.boot()
	return w
}

// boot starts the device, again for one that ran.
func (w *world) boot() {
	w.t.Helper()
	var err error
	if w.device, err = openDevice("press-7", w.store, w.trust, w.clock.read); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) newSigner(root, id *Identity, r Record) *Signer {
	w.t.Helper()
	r.Key = id.Key()
	rec, err := SignRecord(root, r)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := NewSigner(id, rec)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// keys returns the published batch.
func (w *world) keys() []PublicKey {
	w.t.Helper()
	b, err := VerifyPrekeys(w.device.Prekeys(), "", "press-7", w.device.Key())
	if err != nil {
		w.t.Fatal(err)
	}
	return b.Keys
}

// grant returns a good grant for a prekey.
func (w *world) grant(session string, rev int, prekey PublicKey) *Grant {
	return &Grant{
		V: 1, Session: session, Rev: rev, Device: "press-7", Prekey: prekey,
		Addresses: []netip.Addr{netip.MustParseAddr("10.166.0.5")},
		Far: FarEnd{
			Node: "wg-bj-01", Key: fixed(0x42).Public(), Proof: netip.MustParseAddr("10.166.0.1"),
			Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:51820")},
		},
		Operators: []Operator{{ID: "op-1", Key: fixed(0x43).Public(),
			Address: netip.MustParseAddr("10.166.128.1"), Ports: []Port{TCP(22), TCP(3389)}}},
		STUN: []string{"192.0.2.2:3478"}, Up: 10e6, Down: 20e6,
		Lifetime: time.Hour, Idle: 15 * time.Minute, End: time.Unix(1_800_000_000, 0).UTC(),
	}
}

func (w *world) sign(g *Grant) []byte {
	w.t.Helper()
	t, err := g.Sign(w.signer)
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

// say signs any payload as control.
func (w *world) say(typ string, payload any) []byte {
	w.t.Helper()
	b, err := json.Marshal(payload)
	if err != nil {
		w.t.Fatal(err)
	}
	t, err := w.signer.Sign(typ, b)
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

// accept hands a grant to the device and fails unless reason comes of it.
func (w *world) accept(reason string, token []byte) (*Grant, PrivateKey) {
	w.t.Helper()
	g, key, err := w.device.Accept(token)
	want(w.t, err, reason)
	if (err == nil) == key.IsZero() || (err == nil) == (g == nil) {
		w.t.Fatalf("grant %v, key zero %v with error %v", g != nil, key.IsZero(), err)
	}
	return g, key
}

func want(t testing.TB, err error, reason string) {
	t.Helper()
	if got := reasonOf(err); got != reason {
		t.Fatalf("got %q (%v), want %q", got, err, reason)
	}
}

// reasonOf is "" for nil; any error that is no refusal is shown.
func reasonOf(err error) string {
	var e *GrantError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code()
	}
	return "no GrantError: " + err.Error()
}

// raw signs a header and a payload as they are.
func raw(id *Identity, head, payload string) []byte {
	signed := fmt.Appendf(nil, "%s.%s", b64.EncodeToString([]byte(head)), b64.EncodeToString([]byte(payload)))
	return fmt.Appendf(signed, ".%s", b64.EncodeToString(id.sign(signed)))
}

// head renders a header with fields replaced; a nil value leaves one out.
func (w *world) head(typ string, with map[string]any) string {
	h := map[string]any{"alg": "Ed25519", "typ": typ, "kid": "c1", "iss": "boothwire", "rec": w.signer.token}
	for k, v := range with {
		if h[k] = v; v == nil {
			delete(h, k)
		}
	}
	b, err := json.Marshal(h)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}
