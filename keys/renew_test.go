package keys

import (
	"strings"
	"testing"
	"time"
)

// operated returns a grant whose far end is an operator's tool.
func (w *world) operated(session string, rev int, prekey PublicKey) *Grant {
	g := w.grant(session, rev, prekey)
	g.Far = FarEnd{Key: g.Operators[0].Key, Proof: g.Operators[0].Address}
	g.Lifetime = 5 * time.Minute
	return g
}

func (w *world) renew(r Renew) []byte {
	w.t.Helper()
	t, err := SignRenew(w.signer, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

func TestRenew(t *testing.T) {
	w := newWorld(t, Trust{Longest: time.Hour})
	keys := w.keys()
	w.accept("", w.sign(w.operated("a", 2, keys[0])))
	w.accept("", w.sign(w.grant("n", 1, keys[1])))
	ok := Renew{Session: "a", Device: "press-7", Rev: 2, Lifetime: 9 * time.Minute, End: time.Unix(1_800_000_000, 0).UTC()}
	with := func(f func(*Renew)) []byte {
		r := ok
		f(&r)
		return w.renew(r)
	}
	later := with(func(r *Renew) { r.Lifetime = 20 * time.Minute })
	for _, tc := range []struct {
		name  string
		token []byte
		want  time.Duration
		code  string
	}{
		{"shorter than the grant", with(func(r *Renew) { r.Lifetime = time.Minute }), 0, ReasonReplayed},
		{"good", w.renew(ok), 9 * time.Minute, ""},
		{"the same again", w.renew(ok), 9 * time.Minute, ""},
		{"later", later, 20 * time.Minute, ""},
		{"the one before", w.renew(ok), 0, ReasonReplayed},
		{"a revision before", with(func(r *Renew) { r.Rev, r.Lifetime = 1, time.Hour }), 0, ReasonReplayed},
		{"a revision that is on its way", with(func(r *Renew) { r.Rev, r.Lifetime = 3, 21*time.Minute }), 21 * time.Minute, ""},
		{"another session", with(func(r *Renew) { r.Session = "b" }), 0, ReasonClosed},
		{"another device", with(func(r *Renew) { r.Device = "press-8" }), 0, ReasonWrongDevice},
		{"a node's session", with(func(r *Renew) { r.Session = "n" }), 0, ReasonUnsupported},
		{"beyond the host's limit", with(func(r *Renew) { r.Lifetime = 9 * time.Hour }), time.Hour, ""},
		{"a grant", w.sign(w.operated("a", 3, keys[0])), 0, ReasonOversized},
		{"an ask", w.say(TypeAsk, ok.wire()), 0, ReasonWrongKind},
		{"no lifetime", w.say(TypeRenew, map[string]any{"session": "a", "device": "press-7", "rev": 2}), 0, ReasonMalformed},
		{"no revision", w.say(TypeRenew, map[string]any{"session": "a", "device": "press-7", "lifetime_s": 9}), 0, ReasonMalformed},
		{"crit", w.say(TypeRenew, map[string]any{"session": "a", "device": "press-7", "rev": 2, "lifetime_s": 9, "crit": []string{"x"}}), 0, ReasonUnknownCrit},
		{"cut", later[:len(later)-8], 0, ReasonMalformed},
	} {
		got, err := w.device.Renew(tc.token)
		if reasonOf(err) != tc.code || got != tc.want {
			t.Errorf("%s: %v, %v, want %v, %q", tc.name, got, err, tc.want, tc.code)
		}
	}
	w.device.End("a")
	if _, err := w.device.Renew(later); reasonOf(err) != ReasonClosed {
		t.Errorf("after the end: %v", err)
	}
}

// A later grant says anew how long the session may last.
func TestRenewAfterGrant(t *testing.T) {
	w := newWorld(t)
	k := w.keys()[0]
	w.accept("", w.sign(w.operated("a", 1, k)))
	renewal := w.renew(Renew{Session: "a", Device: "press-7", Rev: 1, Lifetime: time.Hour})
	if _, err := w.device.Renew(renewal); err != nil {
		t.Fatal(err)
	}
	w.accept("", w.sign(w.operated("a", 2, k)))
	if _, err := w.device.Renew(renewal); reasonOf(err) != ReasonReplayed {
		t.Errorf("a renewal of the revision before: %v", err)
	}
	if got, err := w.device.Renew(w.renew(Renew{Session: "a", Device: "press-7", Rev: 2, Lifetime: 6 * time.Minute})); err != nil || got != 6*time.Minute {
		t.Errorf("a renewal of the new one: %v, %v", got, err)
	}
}

func TestRenewComesBack(t *testing.T) {
	w := newWorld(t)
	want := Renew{Session: NewID(), Device: "press-7", Rev: 7, Lifetime: time.Hour, End: time.Unix(1_800_000_000, 0).UTC()}
	roots, err := ParseRoots("", w.trust.Roots...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := roots.VerifyRenew(w.renew(want))
	if err != nil || *got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := SignRenew(w.signer, Renew{Session: "a", Device: "press-7", Rev: 1}); reasonOf(err) != ReasonMalformed {
		t.Errorf("without a lifetime: %v", err)
	}
}

// The longest that a deployment with ordinary names makes fits.
func TestRenewSize(t *testing.T) {
	w := newWorld(t)
	s := w.newSigner(w.root, w.online, Record{Issuer: DefaultIssuer, ID: "control-1", Epoch: 1, Scope: []string{TypeGrant, TypeAsk, TypeRenew, TypeDown, TypeRelay}})
	r := Renew{Session: NewID(), Device: strings.Repeat("d", 64), Rev: 99_999, Lifetime: 8 * time.Hour, End: time.Unix(1_800_000_000, 0)}
	token, err := SignRenew(s, r)
	if err != nil || len(token) > MaxRenew {
		t.Fatalf("%d bytes: %v", len(token), err)
	}
	t.Logf("%d bytes", len(token))
	s = w.newSigner(w.root, w.online, Record{Issuer: strings.Repeat("i", 64), ID: strings.Repeat("c", 64), Epoch: 1, Scope: controlScope})
	if _, err := SignRenew(s, r); reasonOf(err) != ReasonOversized {
		t.Errorf("with the longest names: %v", err)
	}
}

func FuzzRenew(f *testing.F) {
	w := newWorld(f)
	g := w.operated("a", 1, w.keys()[0])
	if _, _, err := w.device.Accept(w.sign(g)); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"session":"a","device":"press-7","rev":1,"lifetime_s":600,"end":1800000000}`))
	f.Add([]byte(`{"session":"a","device":"press-7","rev":1,"lifetime_s":9223372036854775807}`))
	f.Add([]byte(`{"session":"a","session":"b","device":"press-7","rev":1,"lifetime_s":1}`))
	f.Add([]byte(`{"session":"a","device":"press-7","rev":-1,"lifetime_s":1e3}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		token, err := w.signer.Sign(TypeRenew, payload)
		if err != nil {
			return
		}
		if d, err := w.device.Renew(token); (err == nil) != (d > 0) {
			t.Errorf("%v, %v", d, err)
		}
	})
}
