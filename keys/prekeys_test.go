package keys

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestBatchRotation(t *testing.T) {
	w := newWorld(t)
	first := w.keys()
	w.clock.move(batchLife - 1)
	if got := w.keys(); got[0] != first[0] {
		t.Fatal("replaced before its time")
	}
	w.clock.move(1)
	second := w.keys()
	if second[0] == first[0] {
		t.Fatal("not replaced after 30 minutes")
	}
	w.clock.move(honour - 1)
	w.accept("", w.sign(w.grant("a", 1, first[0])))
	w.clock.move(1)
	w.accept(ReasonUnknownPrekey, w.sign(w.grant("b", 1, first[1])))
	w.accept("", w.sign(w.grant("b", 1, second[0])))
	w.device.Rotate()
	third := w.keys()
	if third[0] == second[0] {
		t.Fatal("Rotate kept the batch")
	}
	w.accept("", w.sign(w.grant("c", 1, second[1])))
	w.accept("", w.sign(w.grant("d", 1, third[1])))
}

// TestBatchSpent: a batch that is all but used up is replaced when published.
func TestBatchSpent(t *testing.T) {
	w := newWorld(t)
	first := w.keys()
	for i := range 2 {
		w.accept("", w.sign(w.grant(NewID(), 1, first[i])))
	}
	if w.keys()[0] != first[0] {
		t.Fatal("replaced with two keys left")
	}
	w.accept("", w.sign(w.grant(NewID(), 1, first[2])))
	if w.keys()[0] == first[0] {
		t.Fatal("kept with one key left")
	}
	w.accept("", w.sign(w.grant(NewID(), 1, first[3])))
}

// TestErasure: the timer erases a replaced batch without anyone calling.
func TestErasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		start := time.Now()
		dev, err := openDevice("press-7", w.store, w.trust, func() time.Duration { return time.Since(start) })
		if err != nil {
			t.Fatal(err)
		}
		w.device = dev
		k := w.keys()[0]
		dev.mu.Lock()
		key := dev.purse.keys[k].key
		dev.mu.Unlock()
		dev.Rotate()
		time.Sleep(honour - time.Second)
		synctest.Wait()
		if key.IsZero() {
			t.Fatal("erased too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !key.IsZero() {
			t.Fatal("not erased")
		}
		if _, _, err := dev.Request([]byte(`{"server":"x","session":""}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(single)
		synctest.Wait()
		dev.mu.Lock()
		defer dev.mu.Unlock()
		if n := len(dev.purse.keys); n != batchSize {
			t.Fatalf("%d keys, want those of the batch", n)
		}
	})
}

func TestBatchIsSmall(t *testing.T) {
	id, issuer := strings.Repeat("x", 64), strings.Repeat("y", 64)
	d, err := OpenDevice(id, NewMemory(), Trust{Roots: []string{seeded(1).Key().String()}, Issuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	ssh, rdp := [32]byte{1}, [32]byte{2}
	d.Fingerprints(ssh, rdp)
	d.Rotate()
	b := d.Prekeys()
	if len(b) > 1400 {
		t.Errorf("%d bytes, at most 1,400", len(b))
	}
	got, err := VerifyPrekeys(b, issuer, id, d.Key())
	if err != nil {
		t.Fatal(err)
	}
	if got.SSH != ssh || got.RDP != rdp || got.N != 2 || got.Boot != d.Boot() || len(got.Keys) != batchSize || got.Seq == 0 {
		t.Errorf("got %+v", got)
	}
}

func TestOtherBoot(t *testing.T) {
	w := newWorld(t)
	old, boot := w.keys(), w.device.Boot()
	w.boot()
	if w.device.Boot() == boot {
		t.Fatal("a boot id twice")
	}
	g := w.grant("a", 1, old[0])
	w.accept(ReasonUnknownPrekey, w.sign(g))
	g.Boot = boot
	w.accept(ReasonWrongBoot, w.sign(g))
}

func (w *world) ask(session, nonce string) []byte {
	return w.say(TypeAsk, askWire{session, "press-7", nonce})
}

// answer returns the prekey that an answer publishes.
func (w *world) answer(token []byte) answerWire {
	w.t.Helper()
	s, err := VerifyStatement(TypeAnswer, token, "", "press-7", w.device.Key())
	if err != nil {
		w.t.Fatal(err)
	}
	var a answerWire
	if err := json.Unmarshal(s.Payload, &a); err != nil {
		w.t.Fatal(err)
	}
	return a
}

func TestAsks(t *testing.T) {
	w := newWorld(t)
	tok, err := w.device.Answer(w.ask("a", "n1"))
	if err != nil {
		t.Fatal(err)
	}
	a := w.answer(tok)
	if a.Session != "a" || a.Nonce != "n1" || a.Boot != w.device.Boot() || a.Prekey.IsZero() {
		t.Fatalf("got %+v", a)
	}
	if again, err := w.device.Answer(w.ask("a", "n1")); err != nil || string(again) != string(tok) {
		t.Fatalf("the same ask got another answer: %v", err)
	}
	w.accept(ReasonUsedPrekey, w.sign(w.grant("b", 1, a.Prekey)))
	w.accept("", w.sign(w.grant("a", 1, a.Prekey)))
	_, err = w.device.Answer(w.ask("a", "n1"))
	want(t, err, ReasonReplayed)

	for i, c := range []struct {
		reason  string
		payload any
	}{
		{ReasonWrongDevice, askWire{"a", "press-8", "n"}},
		{ReasonMalformed, askWire{"", "press-7", "n"}},
		{ReasonMalformed, askWire{"a", "press-7", ""}},
		{ReasonUnknownCrit, map[string]any{"session": "a", "device": "press-7", "nonce": "n", "crit": []string{"x"}}},
	} {
		_, err := w.device.Answer(w.say(TypeAsk, c.payload))
		if reasonOf(err) != c.reason {
			t.Errorf("%d: %v", i, err)
		}
	}
	_, err = w.device.Answer(w.say(TypeDown, askWire{"a", "press-7", "n"}))
	want(t, err, ReasonWrongKind)
	w.device.End("over")
	_, err = w.device.Answer(w.ask("over", "n9"))
	want(t, err, ReasonClosed)
}

func TestAskFlood(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"1", "2", "3", "4"} {
		if _, err := w.device.Answer(w.ask("s"+n, n)); err != nil {
			t.Fatal(err)
		}
	}
	w.clock.move(time.Minute)
	_, err := w.device.Answer(w.ask("s5", "5"))
	want(t, err, ReasonFlood) // four wait
	w.device.End("s1")
	for _, n := range []string{"s2", "s3", "s4"} {
		w.device.End(n)
	}
	for _, n := range []string{"5", "6", "7", "8"} {
		if _, err := w.device.Answer(w.ask("s"+n, n)); err != nil {
			t.Fatal(err)
		}
		w.device.End("s" + n)
	}
	_, err = w.device.Answer(w.ask("s9", "9"))
	want(t, err, ReasonFlood) // five in a moment
	w.clock.move(askEvery - 1)
	_, err = w.device.Answer(w.ask("s9", "9"))
	want(t, err, ReasonFlood)
	w.clock.move(1)
	if _, err = w.device.Answer(w.ask("s9", "9")); err != nil {
		t.Fatal(err)
	}
	w.clock.move(single)
	if n := len(w.device.purse.keys); n != batchSize+1 {
		t.Fatalf("%d keys before", n)
	}
	w.accept(ReasonUnknownPrekey, w.sign(w.grant("x", 1, fixed(9).Public())))
	if n := len(w.device.purse.keys); n != batchSize {
		t.Fatalf("%d keys after their time", n)
	}
}

func TestRequests(t *testing.T) {
	w := newWorld(t)
	request := func(payload string) (string, PublicKey) {
		t.Helper()
		tok, nonce, err := w.device.Request([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		s, err := VerifyStatement(TypeRequest, tok, "", "press-7", w.device.Key())
		if err != nil {
			t.Fatal(err)
		}
		var r struct {
			Server, Session, Nonce string
			Prekey                 PublicKey
		}
		if err := json.Unmarshal(s.Payload, &r); err != nil || r.Nonce != nonce || r.Server != "wg-bj-01" {
			t.Fatalf("%v %+v", err, r)
		}
		return nonce, r.Prekey
	}
	nonce, k := request(`{"server":"wg-bj-01","session":""}`)
	g := w.grant("a", 1, k)
	g.Re = nonce
	if got, _ := w.accept("", w.sign(g)); got.Re != nonce {
		t.Fatal("the grant lost its nonce")
	}
	_, k = request(`{"server":"wg-bj-01","session":"a"}`)
	w.accept(ReasonUsedPrekey, w.sign(w.grant("b", 1, k)))
	w.accept("", w.sign(w.grant("a", 2, k)))

	_, oldest := request(`{"server":"wg-bj-01"}`)
	for range maxPending {
		w.clock.move(time.Second)
		_, k = request(`{"server":"wg-bj-01"}`)
	}
	w.accept(ReasonUnknownPrekey, w.sign(w.grant("c", 1, oldest)))
	w.accept("", w.sign(w.grant("c", 1, k)))

	for _, bad := range []string{``, `[]`, `{"nonce":"x"}`, `{"prekey":"x"}`, `{"session":"a/b"}`, `{"session":1}`, `{"a":1,"a":2}`} {
		if _, _, err := w.device.Request([]byte(bad)); err == nil {
			t.Errorf("signed %s", bad)
		}
	}
}

func TestStatements(t *testing.T) {
	w := newWorld(t)
	key := w.device.Key()
	tok, err := w.device.Sign(TypeStatus, []byte(`{"vpn":"disconnected"}`))
	if err != nil {
		t.Fatal(err)
	}
	a, err := VerifyStatement(TypeStatus, tok, "", "press-7", key)
	if err != nil {
		t.Fatal(err)
	}
	tok2, err := w.device.Sign(TypeReply, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := VerifyStatement(TypeReply, tok2, "boothwire", "press-7", key)
	if err != nil {
		t.Fatal(err)
	}
	if b.Seq != a.Seq+1 || b.Boot != a.Boot || a.Boot != w.device.Boot() {
		t.Errorf("%+v then %+v", a, b)
	}
	for _, typ := range []string{TypePrekeys, TypeAnswer, TypeRequest, TypeGrant, TypeSigner, "", "x"} {
		if _, err := w.device.Sign(typ, []byte(`{}`)); reasonOf(err) != ReasonWrongKind {
			t.Errorf("a device signed a %q: %v", typ, err)
		}
	}
	if _, err := w.device.Sign(TypeStatus, []byte(`{"a":1,"a":2}`)); reasonOf(err) != ReasonDuplicateKey {
		t.Error(err)
	}
	_, err = w.device.Sign(TypeStatus, []byte(`{"a":"`+strings.Repeat("x", MaxToken)+`"}`))
	want(t, err, ReasonOversized)

	other := seeded(9)
	verify := func(reason, typ string, token []byte, issuer, device string, key IdentityKey) {
		t.Helper()
		_, err := VerifyStatement(typ, token, issuer, device, key)
		want(t, err, reason)
	}
	verify(ReasonWrongKind, TypeReply, tok, "", "press-7", key)
	verify(ReasonWrongIssuer, TypeStatus, tok, "elsewhere", "press-7", key)
	verify(ReasonWrongDevice, TypeStatus, tok, "", "press-8", key)
	verify(ReasonUnknownSigner, TypeStatus, tok, "", "press-7", other.Key())
	verify(ReasonUnknownSigner, TypeStatus, tok, "", "press-7", IdentityKey{})
	head := `{"alg":"Ed25519","typ":"bw-status","kid":"` + key.String() + `","iss":"boothwire","sub":"press-7","boot":"b","seq":1}`
	verify(ReasonForged, TypeStatus, raw(other, head, `{}`), "", "press-7", key)
	verify(ReasonMalformed, TypeStatus, raw(w.device.ident, strings.Replace(head, `,"seq":1`, ``, 1), `{}`), "", "press-7", key)
	verify(ReasonMalformed, TypeStatus, raw(w.device.ident, strings.Replace(head, `"seq":1`, `"seq":-1`, 1), `{}`), "", "press-7", key)
	verify(ReasonMalformed, TypeStatus, raw(w.device.ident, strings.Replace(head, `"boot":"b"`, `"boot":""`, 1), `{}`), "", "press-7", key)

	device, k, err := StatementKey(tok)
	if err != nil || device != "press-7" || k != key {
		t.Errorf("%q %v %v", device, k, err)
	}
	if _, _, err := StatementKey(w.sign(w.grant("a", 1, w.keys()[0]))); err == nil {
		t.Error("a grant passed as a statement")
	}

	for _, p := range []string{`{}`, `{"boot":"other","n":1,"keys":["` + fixed(1).Public().String() + `"]}`, `{"boot":"b","n":1,"keys":[]}`,
		`{"boot":"b","n":1,"keys":[""]}`, `{"boot":"b","n":0,"keys":["` + fixed(1).Public().String() + `"]}`,
		`{"boot":"b","n":1,"keys":["` + fixed(1).Public().String() + `"],"ssh":"AA"}`} {
		tok := raw(w.device.ident, strings.Replace(head, "bw-status", "bw-prekeys", 1), p)
		if _, err := VerifyPrekeys(tok, "", "press-7", key); reasonOf(err) != ReasonMalformed {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// TestDeviceConcurrency is for the race detector.
func TestDeviceConcurrency(t *testing.T) {
	w := newWorld(t)
	done := make(chan struct{})
	for range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 20 {
				batch, err := VerifyPrekeys(w.device.Prekeys(), "", "press-7", w.device.Key())
				if err != nil {
					t.Error(err)
					return
				}
				g := w.grant(NewID(), 1, batch.Keys[0])
				tok, _ := g.Sign(w.signer)
				if got, key, err := w.device.Accept(tok); err == nil {
					_ = got.ICESecret(key)
				}
				w.device.End(g.Session)
				w.device.Rotate()
				w.device.Fingerprints([32]byte{1}, [32]byte{2})
				_, _, _ = w.device.Request([]byte(`{}`))
				_, _ = w.device.Answer(w.ask(NewID(), NewID()))
				_, _ = w.device.Sign(TypeStatus, []byte(`{}`))
				_ = w.device.RootsN()
			}
		}()
	}
	for range 4 {
		<-done
	}
}
