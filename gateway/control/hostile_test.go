package control

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// says makes a message that a device signed.
func says(t testing.TB, d *keys.Device, typ string, st signaling.Status) []byte {
	t.Helper()
	payload, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	token, err := d.Sign(typ, payload)
	if err != nil {
		t.Fatal(err)
	}
	return outer(t, signaling.Status{VPN: st.VPN, Session: st.Session, Token: token})
}

func outer(t testing.TB, st signaling.Status) []byte {
	t.Helper()
	b, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// device opens the keys of a device of this world.
func (w *world) device(id string, store keys.Store) *keys.Device {
	w.t.Helper()
	d, err := keys.OpenDevice(id, store, keys.Trust{Roots: w.c.Roots()})
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// hears delivers a message as a line would, and waits until it was handled.
func (w *world) hears(id string, payload []byte, retained bool) {
	w.c.deliver(w.fleet, signaling.Message{Device: id, Payload: payload, Retained: retained})
}

func (w *world) shown(id string) client.Device {
	w.t.Helper()
	d, err := w.admin.Device(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func TestStatusesNotBelieved(t *testing.T) {
	w := newWorld(t, nil)
	store := keys.NewMemory()
	d := w.device("kiosk-1", store)
	if _, err := w.admin.AddDevice(t.Context(), "kiosk-1", d.Key()); err != nil {
		t.Fatal(err)
	}
	first := says(t, d, keys.TypeStatus, signaling.Status{VPN: signaling.Disconnected, V: 1, Version: "one"})
	w.hears("kiosk-1", first, true)
	w.hears("kiosk-1", says(t, d, keys.TypeStatus, signaling.Status{VPN: signaling.Connected, V: 1, Version: "two"}), true)
	want := w.shown("kiosk-1")
	if want.State != signaling.Connected || want.Version != "two" || want.Online != client.Online {
		t.Fatalf("shown as %+v", want)
	}

	stranger := w.device("kiosk-1", keys.NewMemory())
	elsewhere := w.device("kiosk-2", store)
	other, err := keys.OpenDevice("kiosk-1", store, keys.Trust{Roots: w.c.Roots(), Issuer: "other"})
	if err != nil {
		t.Fatal(err)
	}
	bad := signaling.Status{VPN: signaling.Failed, V: 1, Version: "bad"}
	good := says(t, d, keys.TypeStatus, bad)
	token := strings.Split(string(good), `"token":"`)[1]
	prekeys := d.Prekeys()
	for _, tc := range []struct {
		name, code string
		payload    []byte
	}{
		{"replayed", "", first},
		{"not JSON", keys.ReasonMalformed, []byte("hello")},
		{"trailing", keys.ReasonMalformed, append(append([]byte{}, good...), "{}"...)},
		{"twice", keys.ReasonDuplicateKey, []byte(`{"vpn":"failed","vpn":"failed"}`)},
		{"deep", keys.ReasonTooDeep, []byte(`{"vpn":"failed","x":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`)},
		{"oversized", keys.ReasonOversized, append([]byte(`{"vpn":"failed","x":"`), make([]byte, 1<<20)...)},
		{"unsigned", keys.ReasonUnsigned, []byte(`{"vpn":"failed"}`)},
		{"forged", keys.ReasonForged, []byte(strings.Replace(string(good), token[len(token)-12:], "AAAAAAAAAA\"}", 1))},
		{"another key", keys.ReasonUnknownSigner, says(t, stranger, keys.TypeStatus, bad)},
		{"another device", keys.ReasonWrongDevice, says(t, elsewhere, keys.TypeStatus, bad)},
		{"another deployment", keys.ReasonWrongIssuer, says(t, other, keys.TypeStatus, bad)},
		{"another kind", keys.ReasonWrongKind, outer(t, signaling.Status{VPN: signaling.Failed, Token: prekeys})},
		{"alg none", keys.ReasonUnsigned, outer(t, signaling.Status{VPN: signaling.Failed, Token: []byte("eyJhbGciOiJub25lIn0.e30.")})},
		{"a batch of another key", keys.ReasonUnknownSigner, outer(t, signaling.Status{VPN: signaling.Failed, Prekeys: stranger.Prekeys()})},
		{"an answer to no ask", "", outer(t, signaling.Status{VPN: signaling.Failed, Answer: answerOf(t, w, d, "s", "n")})},
	} {
		before := w.audited(auditStatus, tc.code)
		w.hears("kiosk-1", tc.payload, false)
		got := w.shown("kiosk-1")
		if got.State != want.State || got.Version != want.Version || got.Prekeys != want.Prekeys || got.Boot != want.Boot {
			t.Errorf("%s: shown as %+v", tc.name, got)
		}
		if tc.code != "" && w.audited(auditStatus, tc.code) != before+1 {
			t.Errorf("%s: not audited as %s", tc.name, tc.code)
		}
	}
	if got := w.shown("kiosk-1").Foreign; got != stranger.Key().String() {
		t.Errorf("foreign key %q, want %q", got, stranger.Key())
	}
	if w.audited(auditForeign, "") != 1 {
		t.Error("the foreign key is not audited once")
	}
	// A flood of one kind is one row.
	for range 500 {
		w.hears("kiosk-1", []byte("hello"), false)
	}
	rows := 0
	for a, err := range w.admin.Audit(t.Context(), client.Filter{Device: "kiosk-1"}) {
		if err != nil {
			t.Fatal(err)
		}
		if a.What == auditStatus && a.Code == keys.ReasonMalformed {
			rows++
			if a.Count < 502 {
				t.Errorf("counted %d", a.Count)
			}
		}
	}
	if rows != 1 {
		t.Errorf("%d rows for one flood", rows)
	}
	// A will is a hint: it is no refusal, and changes nothing.
	before := w.audited(auditStatus, keys.ReasonUnsigned)
	w.hears("kiosk-1", []byte(`{"vpn":"offline"}`), false)
	if w.audited(auditStatus, keys.ReasonUnsigned) != before || w.shown("kiosk-1").State != signaling.Connected {
		t.Error("a will was believed or refused")
	}
}

// A document that overtakes a refusal on its way does not make it unheard.
func TestOvertakenRefusal(t *testing.T) {
	w := newWorld(t, nil)
	d := w.device("kiosk-1", keys.NewMemory())
	if _, err := w.admin.AddDevice(t.Context(), "kiosk-1", d.Key()); err != nil {
		t.Fatal(err)
	}
	w.hears("kiosk-1", says(t, d, keys.TypeStatus, signaling.Status{VPN: signaling.Disconnected, V: 1}), true)
	refusal := says(t, d, keys.TypeReply, signaling.Status{VPN: signaling.Disconnected, V: 1, Code: "forged", Count: 3})
	old := says(t, d, keys.TypeReply, signaling.Status{VPN: signaling.Failed, V: 1})
	w.hears("kiosk-1", says(t, d, keys.TypeStatus, signaling.Status{VPN: signaling.Connected, V: 1}), true)
	w.hears("kiosk-1", refusal, false)
	if got := w.audited(auditCommand, "forged"); got != 3 {
		t.Errorf("%d refusals counted, want 3", got)
	}
	w.hears("kiosk-1", refusal, false)
	w.hears("kiosk-1", old, false)
	if got := w.audited(auditCommand, "forged"); got != 3 || w.shown("kiosk-1").State != signaling.Connected {
		t.Errorf("%d refusals after a replay, shown as %+v", got, w.shown("kiosk-1"))
	}
}

// answerOf has a device answer an ask of control.
func answerOf(t testing.TB, w *world, d *keys.Device, session, nonce string) []byte {
	t.Helper()
	ask, err := w.c.sign(keys.TypeAsk, askPayload{session, d.ID(), nonce})
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Answer(ask)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What a broker held back for days is not taken for the present run.
func TestOldBoot(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	b := w.booth("kiosk-1", true)
	held := w.device("kiosk-1", b.store) // a run that control never heard of
	late := says(t, held, keys.TypeStatus, signaling.Status{VPN: signaling.Disconnected, V: 1})
	b.serve().known()
	n.proves(b)
	s := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	w.hears("kiosk-1", late, false)
	eventually(t, "the device was asked", func() bool {
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		return w.c.devices["kiosk-1"].probe == nil
	})
	if v, _ := w.admin.Session(t.Context(), s.ID); v.State != client.Connected {
		t.Fatalf("a message of another run made it %+v", v)
	}
	if got := w.shown("kiosk-1").Boot; got != b.keys.Boot() {
		t.Errorf("boot is %s, want %s", got, b.keys.Boot())
	}
}

// A run that was over and answers a fresh ask is another machine with the same key.
func TestClone(t *testing.T) {
	w := newWorld(t, nil)
	w.node("wg-1")
	store := keys.NewMemory()
	one, two := w.device("kiosk-1", store), w.device("kiosk-1", store)
	if _, err := w.admin.AddDevice(t.Context(), "kiosk-1", one.Key()); err != nil {
		t.Fatal(err)
	}
	w.hears("kiosk-1", says(t, one, keys.TypeStatus, signaling.Status{VPN: signaling.Disconnected, V: 1}), true)
	w.hears("kiosk-1", says(t, two, keys.TypeStatus, signaling.Status{VPN: signaling.Disconnected, V: 1}), true)
	if got := w.shown("kiosk-1").Boot; got != two.Boot() {
		t.Fatalf("boot %s", got)
	}
	early := says(t, one, keys.TypeStatus, signaling.Status{VPN: signaling.Connected, V: 1, Version: "early"})
	// A replay of the former run is no clone.
	w.hears("kiosk-1", says(t, one, keys.TypeStatus, signaling.Status{VPN: signaling.Disconnected, V: 1}), true)
	if w.audited(auditClone, "") != 0 || w.shown("kiosk-1").Boot != two.Boot() {
		t.Fatal("a message of a former run was believed")
	}
	opened := make(chan error, 1)
	go func() { _, err := w.open(op("ann"), "kiosk-1"); opened <- err }()
	var nonce, session string
	eventually(t, "an ask", func() bool {
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		if s := w.c.devices["kiosk-1"].session; s != nil && s.nonce != "" {
			nonce, session = s.nonce, s.id
		}
		return nonce != ""
	})
	// An answer to another ask opens nothing, whoever signed it.
	for _, old := range [][]byte{answerOf(t, w, two, session, "another"), answerOf(t, w, two, "another", nonce)} {
		w.hears("kiosk-1", outer(t, signaling.Status{VPN: signaling.Disconnected, Answer: old}), false)
	}
	select {
	case err := <-opened:
		t.Fatalf("opened by an answer to another ask: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	w.hears("kiosk-1", outer(t, signaling.Status{VPN: signaling.Disconnected, Answer: answerOf(t, w, one, session, nonce)}), false)
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	if w.audited(auditClone, "") != 1 || w.shown("kiosk-1").Boot != one.Boot() {
		t.Error("two runs at once went unnoticed")
	}
	// What it said while it was over stays unsaid.
	w.hears("kiosk-1", early, true)
	if w.shown("kiosk-1").Version == "early" {
		t.Error("a replay of the revived run was believed")
	}
}

func TestStrangersAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	for i := range maxStrangers + 500 {
		w.hears(fmt.Sprintf("invented-%d", i), []byte(`{"vpn":"connected","ip":"10.166.0.5"}`), true)
	}
	if got := w.c.Stats().Strangers; got != maxStrangers {
		t.Errorf("%d strangers", got)
	}
	d := w.shown("invented-7")
	if d.Gen != 2 || d.State != signaling.Connected || d.Address.String() != "10.166.0.5" || !d.Key.IsZero() {
		t.Errorf("shown as %+v", d)
	}
	w.hears("../../x", []byte(`{"vpn":"connected"}`), true)
	w.c.mu.Lock()
	w.c.strangers.expire(w.c.cfg.Now().Add(strangerFor))
	w.c.mu.Unlock()
	if got := w.c.Stats().Strangers; got != 0 {
		t.Errorf("%d strangers a day later", got)
	}
	// A foreign signature on an unregistered id is shown, and no more.
	d1 := w.device("kiosk-9", keys.NewMemory())
	w.hears("kiosk-9", says(t, d1, keys.TypeStatus, signaling.Status{VPN: signaling.Connected, V: 1}), true)
	if got := w.shown("kiosk-9"); got.Gen != 2 || got.Foreign != d1.Key().String() {
		t.Errorf("shown as %+v", got)
	}
}

// One prekey, one session: whatever a batch says again.
func TestPrekeySpentOnce(t *testing.T) {
	w := newWorld(t, nil)
	_, b, s := w.connected()
	spent := b.last().Prekey
	w.mustClose(op("ann"), s.ID)
	w.reaches(s.ID, client.Closed)
	w.c.mu.Lock()
	d := w.c.devices["kiosk-1"]
	d.prekeys = append([]keys.PublicKey{spent}, d.prekeys...)
	w.c.mu.Unlock()
	s = w.mustOpen(op("ann"), "kiosk-1")
	if v := w.reaches(s.ID, client.Connected); v.Rev != 1 || b.last().Prekey == spent {
		t.Error("a spent key was granted again")
	}
}
