package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// A device may ask for fresh keys as often as it likes: each costs control a row, and
// its node a key that is remembered until the session's end.
func TestRekeyFlood(t *testing.T) {
	w := newWorld(t, nil)
	_, b, s := w.connected()
	const asked = 50
	var last []byte
	var nonce string
	for range asked {
		token, re, err := b.keys.Request([]byte(`{"server":"wg-1","session":"` + s.ID + `"}`))
		if err != nil {
			t.Fatal(err)
		}
		nonce, last = re, outer(t, signaling.Status{VPN: signaling.Connected, Request: token})
		w.hears("kiosk-1", last, false)
	}
	if got := w.audited(auditStatus, keys.ReasonFlood); got != asked-maxRekeys {
		t.Errorf("%d refused", got)
	}
	issued := w.live(s.ID)
	issued.issuing.Lock() // what is under way has come to its end
	issued.issuing.Unlock()
	if v, _ := w.admin.Session(t.Context(), s.ID); v.Rev > 1+maxRekeys || v.State != client.Connected {
		t.Errorf("session is %+v", v)
	}
	// What came too early counts when it is said again in time.
	w.c.mu.Lock()
	issued.opened = issued.opened.Add(-time.Minute)
	w.c.mu.Unlock()
	w.hears("kiosk-1", last, false)
	eventually(t, "a fresh key", func() bool { return b.last().Re == nonce })
}

// One who makes up codes is some rows, not one for each, and hides nobody else.
func TestAuditOfMadeUpCodes(t *testing.T) {
	w := newWorld(t, nil)
	_, _, s := w.connected()
	var events []nodeEvent
	for i := range 2 * maxCounted {
		events = append(events, nodeEvent{Kind: eventRefused, Session: s.ID, Rev: 1, Code: fmt.Sprint("c", i)})
	}
	events = append(events, nodeEvent{Kind: eventRefused, Session: s.ID, Rev: 1, Code: strings.Repeat("x", 1000)})
	events = append(events, nodeEvent{Kind: eventRefused, Session: "unknown", Code: "\x1b[2J"})
	w.c.mu.Lock()
	for i := range events {
		w.c.event(w.c.nodes["wg-1"], &events[i], w.c.cfg.Now())
	}
	w.c.mu.Unlock()
	w.hears("kiosk-1", []byte("no status"), false)
	rows, total, told := 0, 0, false
	for a, err := range w.admin.Audit(t.Context(), client.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		told = told || a.What == auditStatus && a.Device == "kiosk-1"
		if a.What != auditNode {
			continue
		}
		rows++
		total += a.Count
		if !keys.ValidID(a.Code) {
			t.Errorf("the code %.80q", a.Code)
		}
	}
	if rows > maxCodes+2 || total != len(events) {
		t.Errorf("%d rows count %d of %d", rows, total, len(events))
	}
	if !told {
		t.Error("what was refused for another is not told")
	}
}

// One device that signs all that it can keeps control from no other: what is beyond a
// burst is not checked, and on another line it is heard.
func TestStatusFlood(t *testing.T) {
	clock := newStopped()
	w := newWorld(t, &Config{Now: clock.now})
	d := w.device("kiosk-1", keys.NewMemory())
	if _, err := w.admin.AddDevice(t.Context(), "kiosk-1", d.Key()); err != nil {
		t.Fatal(err)
	}
	say := func(version string) {
		w.hears("kiosk-1", says(t, d, keys.TypeStatus, signaling.Status{VPN: signaling.Disconnected, V: 1, Version: version}), false)
	}
	const said = 2 * signedBurst
	for range said {
		say("one")
	}
	if got := w.audited(auditStatus, keys.ReasonFlood); got != said-signedBurst {
		t.Errorf("%d of %d not looked at", got, said)
	}
	say("two")
	if v := w.shown("kiosk-1").Version; v != "one" {
		t.Errorf("version %q", v)
	}
	for range 2 * readBurst { // what has no signature costs less, and is read for longer
		w.hears("kiosk-1", []byte("hello"), false)
	}
	const read = readBurst - said - 1
	if got := w.audited(auditStatus, keys.ReasonMalformed); got != read {
		t.Errorf("%d are read, want %d", got, read)
	}
	other := signaling.RideOnFleet(nil)
	w.c.deliver(other, signaling.Message{Device: "kiosk-1", Payload: says(t, d, keys.TypeStatus, signaling.Status{VPN: signaling.Disconnected, V: 1, Version: "three"})})
	if v := w.shown("kiosk-1").Version; v != "three" {
		t.Errorf("on another line: version %q", v)
	}
	clock.move(time.Second)
	say("four")
	if v := w.shown("kiosk-1").Version; v != "four" {
		t.Errorf("a second later: version %q", v)
	}
}

// A device that asks for session after session fills no table.
func TestBareFlood(t *testing.T) {
	clock := newStopped()
	var asked atomic.Int32
	allow := func(context.Context, string, string) error { asked.Add(1); return errors.New("not today") }
	w := newWorld(t, &Config{Now: clock.now, Bare: BarePolicy{Nodes: []string{"wg-1"}, Allow: allow}})
	d := w.device("kiosk-1", keys.NewMemory())
	if _, err := w.admin.AddDevice(t.Context(), "kiosk-1", d.Key()); err != nil {
		t.Fatal(err)
	}
	ask := func() {
		token, _, err := d.Request([]byte(`{"server":"wg-1"}`))
		if err != nil {
			t.Fatal(err)
		}
		w.hears("kiosk-1", outer(t, signaling.Status{VPN: signaling.Disconnected, Request: token}), false)
	}
	const many = 50
	for range many {
		ask()
	}
	if got := w.audited(auditRequest, keys.ReasonFlood); got != many-opensBurst {
		t.Errorf("%d refused at once", got)
	}
	eventually(t, "the others are asked for", func() bool { return asked.Load() == opensBurst })
	clock.move(16 * time.Second)
	ask()
	eventually(t, "one more", func() bool { return asked.Load() == opensBurst+1 })
}
