package keys

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRefusals holds each refusal of Accept to exactly the input that it
// names, and sees that a refused grant changes nothing: a good one for the
// same prekey is accepted afterwards.
func TestRefusals(t *testing.T) {
	type M = map[string]any
	edit := func(w *world, f func(M)) string {
		var m M
		if err := json.Unmarshal(encode(w.grant("s", 1, w.keys()[0])), &m); err != nil {
			t.Fatal(err)
		}
		f(m)
		return string(encode(m))
	}
	good := func(w *world) string { return edit(w, func(M) {}) }
	payload := func(f func(w *world) string) func(w *world) []byte {
		return func(w *world) []byte { return raw(w.online, w.head(TypeGrant, nil), f(w)) }
	}
	set := func(name string, v any) func(w *world) []byte {
		return payload(func(w *world) string { return edit(w, func(m M) { m[name] = v }) })
	}
	far := func(name string, v any) func(w *world) []byte {
		return payload(func(w *world) string { return edit(w, func(m M) { m["far"].(M)[name] = v }) })
	}
	operator := func(name string, v any) func(w *world) []byte {
		return payload(func(w *world) string {
			return edit(w, func(m M) { m["operators"].([]any)[0].(M)[name] = v })
		})
	}
	header := func(m M) func(w *world) []byte {
		return func(w *world) []byte { return raw(w.online, w.head(TypeGrant, m), good(w)) }
	}
	record := func(root byte, typ string, id byte, f func(*Record)) func(w *world) []byte {
		return func(w *world) []byte {
			r := Record{Issuer: "boothwire", ID: "c1", Key: seeded(id).Key(), Epoch: 1, Scope: controlScope}
			f(&r)
			rec := raw(seeded(root), `{"alg":"Ed25519","typ":"`+typ+`","kid":"`+w.root.Key().String()+`"}`, string(encode(r)))
			return raw(w.online, w.head(TypeGrant, M{"rec": string(rec)}), good(w))
		}
	}
	signed := func(w *world) []byte { return []byte(string(raw(w.online, w.head(TypeGrant, nil), good(w)))) }
	flip := func(part int) func(w *world) []byte {
		return func(w *world) []byte {
			parts := bytes.Split(signed(w), []byte{'.'})
			b, _ := b64.DecodeString(string(parts[part]))
			at := len(b) - 1
			if part == 1 { // another device, in valid JSON
				at = bytes.Index(b, []byte("press-7")) + 6
			}
			b[at] ^= 1
			parts[part] = []byte(b64.EncodeToString(b))
			return bytes.Join(parts, []byte{'.'})
		}
	}
	tests := []struct {
		name   string
		reason string
		token  func(w *world) []byte
	}{
		{"good", "", signed},
		{"empty", ReasonMalformed, func(*world) []byte { return nil }},
		{"a word", ReasonMalformed, func(*world) []byte { return []byte("vpn_up") }},
		{"JSON", ReasonMalformed, func(w *world) []byte { return []byte(good(w)) }},
		{"four parts", ReasonMalformed, func(w *world) []byte { return append(signed(w), ".x"...) }},
		{"line end", ReasonMalformed, func(w *world) []byte { return append(signed(w), '\n') }},
		{"padding", ReasonMalformed, func(w *world) []byte { return append(signed(w), "=="...) }},
		{"truncated by 2", ReasonMalformed, func(w *world) []byte { b := signed(w); return b[:len(b)-2] }},
		{"truncated by 40", ReasonMalformed, func(w *world) []byte { b := signed(w); return b[:len(b)-40] }},
		{"cut before the signature", ReasonUnsigned, func(w *world) []byte { b := signed(w); return b[:bytes.LastIndexByte(b, '.')] }},
		{"oversized", ReasonOversized, func(*world) []byte { return bytes.Repeat([]byte{'A'}, 1<<20) }},
		{"one byte over", ReasonOversized, func(*world) []byte { return bytes.Repeat([]byte{'A'}, MaxToken+1) }},
		{"empty signature", ReasonUnsigned, func(w *world) []byte { b := signed(w); return b[:bytes.LastIndexByte(b, '.')+1] }},
		{"alg none", ReasonUnsigned, header(M{"alg": "none"})},
		{"alg None", ReasonUnsigned, header(M{"alg": "None"})},
		{"no alg", ReasonUnsigned, header(M{"alg": nil})},
		{"alg EdDSA", ReasonUnsupported, header(M{"alg": "EdDSA"})},
		{"alg HS256", ReasonUnsupported, header(M{"alg": "HS256"})},
		{"signature changed", ReasonForged, flip(2)},
		{"payload changed", ReasonForged, flip(1)},
		{"another's signature", ReasonForged, func(w *world) []byte { return raw(seeded(9), w.head(TypeGrant, nil), good(w)) }},
		{"typ ask", ReasonWrongKind, header(M{"typ": TypeAsk})},
		{"typ in capitals", ReasonWrongKind, header(M{"typ": "BW-GRANT"})},
		{"iss", ReasonWrongIssuer, header(M{"iss": "elsewhere"})},
		{"another deployment under the same root", ReasonWrongIssuer, func(w *world) []byte {
			s := w.newSigner(w.root, w.online, Record{Issuer: "elsewhere", ID: "c1", Epoch: 1, Scope: controlScope})
			tok, _ := w.grant("s", 1, w.keys()[0]).Sign(s)
			return tok
		}},
		{"no iss", ReasonWrongIssuer, header(M{"iss": nil})},
		{"record's iss", ReasonWrongIssuer, record(1, TypeSigner, 2, func(r *Record) { r.Issuer = "elsewhere" })},
		{"crit in header", ReasonUnknownCrit, header(M{"crit": []string{"typ"}})},
		{"empty crit in header", ReasonMalformed, header(M{"crit": []string{}})},
		{"unknown field in header", ReasonMalformed, header(M{"jku": "https://example.com"})},
		{"a device's header", ReasonMalformed, header(M{"sub": "press-7"})},
		{"no record", ReasonUnknownSigner, header(M{"rec": nil})},
		{"another signer's name", ReasonUnknownSigner, header(M{"kid": "c2"})},
		{"record is a word", ReasonMalformed, header(M{"rec": "x"})},
		{"record by no root", ReasonForged, record(9, TypeSigner, 2, func(*Record) {})},
		{"record of another kind", ReasonWrongKind, record(1, TypeGrant, 2, func(*Record) {})},
		{"record of another key", ReasonForged, record(1, TypeSigner, 9, func(*Record) {})},
		{"record without epoch", ReasonMalformed, record(1, TypeSigner, 2, func(r *Record) { r.Epoch = 0 })},
		{"out of scope", ReasonOutOfScope, record(1, TypeSigner, 2, func(r *Record) { r.Scope = []string{TypeAsk} })},
		{"record under a root of its own", ReasonUnknownSigner, func(w *world) []byte {
			s := w.newSigner(seeded(9), w.online, Record{ID: "c1", Epoch: 1, Scope: controlScope})
			tok, _ := w.grant("s", 1, w.keys()[0]).Sign(s)
			return tok
		}},
		{"stale epoch", ReasonStaleEpoch, func(w *world) []byte {
			next := w.newSigner(w.root, seeded(3), Record{ID: "c2", Epoch: 2, Scope: controlScope})
			tok, _ := next.Sign(TypeDown, []byte(`{"session":"x","device":"press-7","why":"closed"}`))
			if _, err := w.device.Verify(TypeDown, tok); err != nil {
				t.Fatal(err)
			}
			return signed(w)
		}},
		{"not an object", ReasonMalformed, payload(func(*world) string { return `[1]` })},
		{"empty object", ReasonWrongDevice, payload(func(*world) string { return `{}` })},
		{"not UTF-8", ReasonMalformed, payload(func(w *world) string { return strings.Replace(good(w), "op-1", "op-\xff", 1) })},
		{"bytes after", ReasonMalformed, payload(func(w *world) string { return good(w) + `{}` })},
		{"duplicate", ReasonDuplicateKey, payload(func(w *world) string { return `{"device":"press-8",` + good(w)[1:] })},
		{"duplicate, escaped", ReasonDuplicateKey, payload(func(w *world) string { return `{"d\u0065vice":"press-8",` + good(w)[1:] })},
		{"duplicate below", ReasonDuplicateKey, payload(func(w *world) string { return `{"x":[{"a":1,"a":2}],` + good(w)[1:] })},
		{"another case", ReasonMalformed, payload(func(w *world) string { return `{"Device":"press-8",` + good(w)[1:] })},
		{"deep", ReasonTooDeep, payload(func(w *world) string {
			return `{"x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `,` + good(w)[1:]
		})},
		{"9 levels", ReasonTooDeep, payload(func(w *world) string {
			return `{"x":` + strings.Repeat("[", 8) + strings.Repeat("]", 8) + `,` + good(w)[1:]
		})},
		{"8 levels", "", payload(func(w *world) string {
			return `{"x":` + strings.Repeat("[", 7) + strings.Repeat("]", 7) + `,` + good(w)[1:]
		})},
		{"unknown field", "", set("colour", "red")},
		{"crit known", "", set("crit", []string{"far", "lifetime_s"})},
		{"crit unknown", ReasonUnknownCrit, set("crit", []string{"far", "colour"})},
		{"other device", ReasonWrongDevice, set("device", "press-8")},
		{"device is a number", ReasonMalformed, set("device", 7)},
		{"no version", ReasonMalformed, set("v", 0)},
		{"a later version", "", set("v", 9)},
		{"session with a slash", ReasonMalformed, set("session", "a/b")},
		{"rev 0", ReasonMalformed, set("rev", 0)},
		{"rev 1.5", ReasonMalformed, set("rev", 1.5)},
		{"no prekey", ReasonMalformed, set("prekey", "")},
		{"short prekey", ReasonMalformed, set("prekey", "AAAA")},
		{"no addresses", ReasonMalformed, set("addresses", []string{})},
		{"loopback", ReasonMalformed, set("addresses", []string{"127.0.0.1"})},
		{"mapped", ReasonMalformed, set("addresses", []string{"::ffff:10.166.0.5"})},
		{"no lifetime", ReasonMalformed, set("lifetime_s", 0)},
		{"endless lifetime", ReasonMalformed, set("lifetime_s", int64(1)<<40)},
		{"negative idle", ReasonMalformed, set("idle_s", -1)},
		{"negative rate", ReasonMalformed, set("up", -1)},
		{"no far key", ReasonMalformed, far("key", "")},
		{"far key is the prekey", ReasonMalformed, payload(func(w *world) string {
			return edit(w, func(m M) { m["far"].(M)["key"] = m["prekey"] })
		})},
		{"proof is the device", ReasonMalformed, far("proof", "10.166.0.5")},
		{"no proof", ReasonMalformed, far("proof", "")},
		{"endpoint without port", ReasonMalformed, far("endpoints", []string{"192.0.2.1:0"})},
		{"operator without key", ReasonMalformed, operator("key", "")},
		{"operator as loopback", ReasonMalformed, operator("address", "127.0.0.1")},
		{"operator as the device", ReasonMalformed, operator("address", "10.166.0.5")},
		{"operator as the node", ReasonMalformed, operator("address", "10.166.0.1")},
		{"port 0", ReasonMalformed, operator("ports", []string{"tcp/0"})},
		{"port of icmp", ReasonMalformed, operator("ports", []string{"icmp/1"})},
		{"no operators", "", set("operators", []any{})},
		{"node not allowed", ReasonNodeNotAllowed, far("node", "wg-gz-01")},
		{"operator's tool not allowed", ReasonNodeNotAllowed, far("node", "")},
		{"port not allowed", ReasonPortNotAllowed, operator("ports", []string{"tcp/22", "tcp/445"})},
		{"udp not allowed", ReasonPortNotAllowed, operator("ports", []string{"udp/22"})},
		{"other boot", ReasonWrongBoot, set("boot", "00000000000000000000000000")},
		{"own boot", "", payload(func(w *world) string { return edit(w, func(m M) { m["boot"] = w.device.Boot() }) })},
		{"unknown prekey", ReasonUnknownPrekey, set("prekey", fixed(7).Public())},
		{"past end", "", set("end", 1)},
	}
	seen := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, Trust{Nodes: []string{"wg-bj-01"}, Ports: []Port{TCP(22), TCP(3389)}})
			_, key, err := w.device.Accept(tt.token(w))
			want(t, err, tt.reason)
			seen[tt.reason] = true
			if err == nil {
				return
			}
			if !key.IsZero() || len(w.device.sessions) != 0 || len(w.device.purse.keys) != batchSize {
				t.Fatal("a refused grant changed something")
			}
			if tt.reason != ReasonStaleEpoch {
				w.accept("", w.sign(w.grant("s", 1, w.keys()[0])))
			}
		})
	}
	// The rest are refusals in a sequence (TestOneTime, TestAsks, TestRoots), of
	// ForNode, or of other packages.
	for _, r := range []string{ReasonMalformed, ReasonOversized, ReasonDuplicateKey, ReasonTooDeep, ReasonUnsigned, ReasonForged,
		ReasonWrongKind, ReasonWrongIssuer, ReasonUnknownSigner, ReasonOutOfScope, ReasonStaleEpoch, ReasonWrongDevice,
		ReasonNodeNotAllowed, ReasonPortNotAllowed, ReasonUnknownPrekey, ReasonWrongBoot, ReasonUnknownCrit, ReasonUnsupported} {
		if !seen[r] {
			t.Errorf("no input is refused as %s", r)
		}
	}
}

// TestOneTime walks through the second uses of a prekey.
func TestOneTime(t *testing.T) {
	w := newWorld(t)
	k := w.keys()
	first := w.sign(w.grant("a", 1, k[0]))
	_, key := w.accept("", first)
	if key.Public() != k[0] {
		t.Fatal("the key of another prekey")
	}
	_, again := w.accept("", first)
	if !again.Equal(key) {
		t.Fatal("the same grant got another key")
	}
	changed := w.grant("a", 1, k[0])
	changed.Operators[0].Ports = []Port{TCP(445)}
	w.accept(ReasonReplayed, w.sign(changed))
	w.accept(ReasonUsedPrekey, w.sign(w.grant("b", 1, k[0])))
	w.accept(ReasonUsedPrekey, w.sign(w.grant("b", 7, k[0])))

	third := w.sign(w.grant("a", 3, k[0]))
	if _, same := w.accept("", third); !same.Equal(key) {
		t.Fatal("a higher rev got another key")
	}
	w.accept(ReasonReplayed, first)
	w.accept(ReasonReplayed, w.sign(w.grant("a", 2, k[0])))
	w.accept("", third)

	w.accept(ReasonUnknownPrekey, w.sign(w.grant("a", 4, fixed(9).Public())))
	fourth := w.sign(w.grant("a", 4, k[1])) // a rekey
	_, second := w.accept("", fourth)
	if second.Equal(key) || key.IsZero() {
		t.Fatal("a rekey must yield a new key and leave the old one to the running tunnel")
	}
	w.accept(ReasonUsedPrekey, w.sign(w.grant("a", 5, k[0])))
	w.accept(ReasonUsedPrekey, w.sign(w.grant("b", 1, k[1])))
	w.accept("", w.sign(w.grant("a", 6, k[2])))
	if !key.IsZero() || second.IsZero() {
		t.Fatal("the key before the last rekey must be erased, that of the last kept")
	}

	w.accept("", w.sign(w.grant("b", 1, k[3])))
	w.device.End("a")
	if !second.IsZero() || !again.IsZero() {
		t.Fatal("End left a key")
	}
	for _, tok := range [][]byte{first, third, fourth, w.sign(w.grant("a", 9, w.keys()[0]))} {
		w.accept(ReasonClosed, tok)
	}
	w.device.End("never-seen") // a down before its up
	w.accept(ReasonClosed, w.sign(w.grant("never-seen", 1, w.keys()[0])))
	w.accept("", w.sign(w.grant("c", 1, w.keys()[0])))
}

// TestClosedIsBounded sees that what falls out of the memory of closed
// sessions still cannot be opened.
func TestClosedIsBounded(t *testing.T) {
	w := newWorld(t)
	tok := w.sign(w.grant("a", 1, w.keys()[0]))
	w.accept("", tok)
	w.device.End("a")
	for range 1024 {
		w.device.End(NewID())
	}
	if n := len(w.device.closed.set); n != 1024 {
		t.Fatalf("%d closed sessions remembered", n)
	}
	w.accept(ReasonUsedPrekey, tok)
}

func TestBusy(t *testing.T) {
	w := newWorld(t)
	for range maxOpen {
		w.accept("", w.sign(w.grant(NewID(), 1, w.unspent())))
	}
	w.accept(ReasonBusy, w.sign(w.grant(NewID(), 1, w.unspent())))
}

// unspent returns a published key that no session has used.
func (w *world) unspent() PublicKey {
	for _, k := range w.keys() {
		if w.device.purse.keys[k] != nil {
			return k
		}
	}
	w.t.Fatal("a published batch without an unspent key")
	return PublicKey{}
}

func TestLongest(t *testing.T) {
	w := newWorld(t, Trust{Longest: 10 * time.Minute})
	g := w.grant("a", 1, w.keys()[0])
	if got, _ := w.accept("", w.sign(g)); got.Lifetime != 10*time.Minute {
		t.Errorf("lifetime %v", got.Lifetime)
	}
	if got, _ := w.accept("", w.sign(g)); got.Lifetime != 10*time.Minute {
		t.Errorf("lifetime %v at the second time", got.Lifetime)
	}
	g.Rev, g.Lifetime = 2, time.Minute
	if got, _ := w.accept("", w.sign(g)); got.Lifetime != time.Minute {
		t.Errorf("lifetime %v, granted a minute", got.Lifetime)
	}
}

// TestWallClock: Accept works whatever the grant's end is.
func TestWallClock(t *testing.T) {
	w := newWorld(t)
	for _, end := range []int64{1, 1 << 40} {
		g := w.grant(NewID(), 1, w.unspent())
		g.End = time.Unix(end, 0)
		w.accept("", w.sign(g))
	}
}

func TestForNode(t *testing.T) {
	w := newWorld(t)
	g := w.grant("a", 1, w.keys()[0])
	key := g.Far.Key
	want(t, g.ForNode("wg-bj-01", key, g.End.Add(-1)), "")
	want(t, g.ForNode("wg-bj-01", key, g.End), ReasonExpired)
	want(t, g.ForNode("wg-bj-02", key, g.End.Add(-1)), ReasonWrongNode)
	want(t, g.ForNode("wg-bj-01", g.Prekey, g.End.Add(-1)), ReasonWrongNode)
	g.End = time.Time{}
	want(t, g.ForNode("wg-bj-01", key, time.Unix(0, 0)), ReasonExpired)
}

// TestReasonsAreAllNamed keeps the list of words free of repeats.
func TestReasonsAreAllNamed(t *testing.T) {
	all := []string{ReasonMalformed, ReasonOversized, ReasonDuplicateKey, ReasonTooDeep, ReasonUnsigned, ReasonForged,
		ReasonWrongKind, ReasonWrongIssuer, ReasonUnknownSigner, ReasonOutOfScope, ReasonStaleEpoch, ReasonWrongDevice,
		ReasonWrongNode, ReasonNodeNotAllowed, ReasonPortNotAllowed, ReasonExpired, ReasonReplayed, ReasonUsedPrekey,
		ReasonUnknownPrekey, ReasonWrongBoot, ReasonClosed, ReasonUnknownCrit, ReasonBusy, ReasonFlood, ReasonRetained,
		ReasonUnsupported, ReasonOutOfOrder, ReasonWrongRelay}
	slices.Sort(all)
	if n := len(all); len(slices.Compact(all)) != n {
		t.Error("two reasons with one word")
	}
}
