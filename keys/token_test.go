package keys

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

func tokenOf(ends [2]PublicKey) Token {
	return Token{Session: "a", Rev: 2, Ends: ends, Leg: 1, Relays: []string{"r-1", "r-2"}, Rate: 20_000_000, End: time.Unix(1_800_000_000, 0).UTC()}
}

func TestToken(t *testing.T) {
	w := newWorld(t)
	roots, err := ParseRoots("", w.trust.Roots...)
	if err != nil {
		t.Fatal(err)
	}
	ends := [2]PublicKey{NewPrivateKey().Public(), NewPrivateKey().Public()}
	want := tokenOf(ends)
	token, err := want.Sign(w.signer)
	if err != nil {
		t.Fatal(err)
	}
	got, err := roots.VerifyToken(token)
	if err != nil || !reflect.DeepEqual(*got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, tc := range []struct {
		name string
		now  time.Time
		code string
	}{
		{"r-1", want.End.Add(-time.Second), ""},
		{"r-2", want.End.Add(-time.Second), ""},
		{"r-3", want.End.Add(-time.Second), ReasonWrongRelay},
		{"r-1", want.End, ReasonExpired},
	} {
		if err := got.ForRelay(tc.name, tc.now); reasonOf(err) != tc.code {
			t.Errorf("at %s, %v: %v", tc.name, tc.now, err)
		}
	}
	for name, change := range map[string]func(*Token){
		"no session":        func(t *Token) { t.Session = "" },
		"no revision":       func(t *Token) { t.Rev = 0 },
		"one key twice":     func(t *Token) { t.Ends[0] = t.Ends[1] },
		"no key":            func(t *Token) { t.Ends[0] = PublicKey{} },
		"a third leg":       func(t *Token) { t.Leg = 2 },
		"no relay":          func(t *Token) { t.Relays = nil },
		"too many relays":   func(t *Token) { t.Relays = make([]string, MaxTokenRelays+1) },
		"a relay's name":    func(t *Token) { t.Relays = []string{"a/b"} },
		"no end":            func(t *Token) { t.End = time.Time{} },
		"a rate below zero": func(t *Token) { t.Rate = -1 },
	} {
		bad := tokenOf(ends)
		change(&bad)
		if _, err := bad.Sign(w.signer); reasonOf(err) != ReasonMalformed {
			t.Errorf("%s is signed: %v", name, err)
		}
		if _, err := roots.VerifyToken(w.say(TypeRelay, &tokenWire{tokenFields(bad), bad.End.Unix()})); reasonOf(err) != ReasonMalformed {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
	if _, err := roots.VerifyToken(w.sign(w.grant("a", 1, ends[0]))); reasonOf(err) != ReasonWrongKind {
		t.Errorf("a grant is taken: %v", err)
	}
}

func TestRelaySecret(t *testing.T) {
	relay, holder, other := NewPrivateKey(), NewPrivateKey(), NewPrivateKey()
	a, err := relay.RelaySecret(holder.Public())
	if err != nil {
		t.Fatal(err)
	}
	b, err := holder.RelaySecret(relay.Public())
	if err != nil || !bytes.Equal(a, b) || len(a) != 32 {
		t.Errorf("the two ends differ: %v", err)
	}
	if c, _ := other.RelaySecret(relay.Public()); bytes.Equal(a, c) {
		t.Error("another key has the same secret")
	}
	if _, err := relay.RelaySecret(PublicKey{}); err == nil {
		t.Error("a point of low order is taken")
	}
	if _, err := (PrivateKey{}).RelaySecret(relay.Public()); err == nil {
		t.Error("no key is taken")
	}
}

func FuzzToken(f *testing.F) {
	w := newWorld(f)
	roots, err := ParseRoots("", w.trust.Roots...)
	if err != nil {
		f.Fatal(err)
	}
	t := tokenOf([2]PublicKey{NewPrivateKey().Public(), NewPrivateKey().Public()})
	f.Add(encode(&tokenWire{tokenFields(t), t.End.Unix()}))
	f.Add([]byte(`{"session":"a","rev":1,"leg":0,"relays":["r"],"end":1e9}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		token, err := w.signer.Sign(TypeRelay, payload)
		if err != nil {
			return
		}
		got, err := roots.VerifyToken(token)
		named(t, err)
		if err == nil && (got.Ends[0] == got.Ends[1] || got.End.IsZero()) {
			t.Errorf("taken: %+v", got)
		}
	})
}
