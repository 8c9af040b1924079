package control

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/machine"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/signalingtest"
)

// staleError is what an agent's handler returns when its prekey is gone.
type staleError struct{ code string }

func (e staleError) Error() string { return e.code }
func (e staleError) Code() string  { return e.code }

// Without a prekey at hand the device is asked.
func TestOpenByAsk(t *testing.T) {
	w := newWorld(t, nil)
	w.pair()
	w.c.mu.Lock()
	w.c.devices["kiosk-1"].prekeys = nil
	w.c.mu.Unlock()
	s := w.mustOpen(op("ann"), "kiosk-1")
	v := w.reaches(s.ID, client.Connected)
	if !slices.ContainsFunc(v.Ladder, func(p client.Step) bool { return p.Stage == stageAsked }) || v.Rev != 1 || len(v.Operators) != 1 {
		t.Errorf("connected as %+v", v)
	}
}

// A prekey that the device no longer has is replaced once, by an ask.
func TestStalePrekey(t *testing.T) {
	w := newWorld(t, nil)
	n, _ := w.pair()
	spoil := func(device string) {
		w.c.mu.Lock()
		defer w.c.mu.Unlock()
		w.c.devices[device].prekeys = []keys.PublicKey{keys.NewPrivateKey().Public()}
	}
	spoil("kiosk-1")
	s := w.mustOpen(op("ann"), "kiosk-1")
	v := w.reaches(s.ID, client.Connected)
	if v.Rev != 2 || n.rev(s.ID) != 2 {
		t.Errorf("connected as %+v, the node has rev %d", v, n.rev(s.ID))
	}
	// The command may come twice, and is refused each time: here just before the ask.
	twice := w.booth("kiosk-3", true).serve().known()
	n.proves(twice)
	spoil("kiosk-3")
	var wake signalingtest.Packet
	w.broker.Intercept(func(to string, p signalingtest.Packet) []signalingtest.Packet {
		switch {
		case to == "kiosk-3" && bytes.Contains(p.Payload, []byte(`"vpn_up"`)):
			wake = p
		case to == "kiosk-3" && bytes.Contains(p.Payload, []byte(`"ask"`)):
			return []signalingtest.Packet{wake, p}
		}
		return []signalingtest.Packet{p}
	})
	s = w.mustOpen(op("ann"), "kiosk-3")
	if v = w.reaches(s.ID, client.Connected); v.Rev != 2 {
		t.Errorf("connected as %+v", v)
	}
	w.broker.Intercept(nil)
	// A device that refuses every key is not asked for ever.
	b2 := w.booth("kiosk-2", true).serve().known()
	b2.fail = staleError{keys.ReasonUnknownPrekey}
	if v = w.fails(op("ann"), "kiosk-2", keys.ReasonUnknownPrekey); v.ID != "" && v.Rev != 2 {
		t.Errorf("failed as %+v", v)
	}
	eventually(t, "the node has let go", func() bool { n.mu.Lock(); defer n.mu.Unlock(); return len(n.held) == 2 })
}

func TestDeviceFails(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	b := w.booth("kiosk-1", true).serve().known()
	b.fail = staleError{"customer_present"}
	w.fails(op("ann"), "kiosk-1", "customer_present")
	eventually(t, "the node has let go", func() bool { n.mu.Lock(); defer n.mu.Unlock(); return len(n.held) == 0 })
	eventually(t, "nothing is left", func() bool { w.c.mu.Lock(); defer w.c.mu.Unlock(); return len(w.c.sessions) == 0 })
	b.mu.Lock()
	b.fail = nil
	b.mu.Unlock()
	n.proves(b)
	w.reaches(w.mustOpen(op("ann"), "kiosk-1").ID, client.Connected)
}

func TestTwoOperators(t *testing.T) {
	w := newWorld(t, nil)
	n, b := w.pair()
	ann := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(ann.ID, client.Connected)
	bob, err := w.c.Client(op("bob")).OpenSession(t.Context(), "kiosk-1", &client.OpenRequest{
		Key: keys.NewPrivateKey().Public(), Ports: []keys.Port{keys.TCP(3389)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if bob.ID != ann.ID || bob.Rev != 2 || len(bob.Operators) != 2 || bob.Operator == ann.Operator || bob.Grant == ann.Grant || n.rev(bob.ID) != 2 {
		t.Fatalf("joined as %+v", bob)
	}
	eventually(t, "the device has both", func() bool { g := b.last(); return g.Rev == 2 && len(g.Operators) == 2 })
	if b.last().Prekey != b.grants[0].Prekey {
		t.Error("joining changed the device's key")
	}
	// Neither may end the session of both, nor remove the other.
	if _, err := w.c.Client(op("bob")).RemoveOperator(t.Context(), ann.ID, ann.Operator); code(err) != "forbidden" {
		t.Errorf("bob removed ann: %v", err)
	}
	if _, err := w.c.Client(op("eve")).CloseSession(t.Context(), ann.ID); code(err) != "forbidden" {
		t.Errorf("eve closed it: %v", err)
	}
	v, err := w.c.Client(op("ann")).CloseSession(t.Context(), ann.ID)
	if err != nil || v.State.Final() || len(v.Operators) != 1 || v.Operators[0].User != "bob" {
		t.Fatalf("ann left: %+v, %v", v, err)
	}
	eventually(t, "the device has one", func() bool { g := b.last(); return g.Rev == 3 && len(g.Operators) == 1 })
	w.mustClose(op("bob"), ann.ID)
	v = w.reaches(ann.ID, client.Closed)
	if len(v.Operators) != 1 {
		t.Errorf("closed as %+v", v)
	}
	if w.audited(auditJoin, "") != 1 || w.audited(auditLeave, "") != 1 || w.audited(auditClose, "") != 1 {
		t.Error("joining, leaving and closing are not audited once each")
	}
}

func TestExclusive(t *testing.T) {
	w := newWorld(t, &Config{Exclusive: true})
	w.pair()
	w.mustOpen(op("ann"), "kiosk-1")
	if _, err := w.open(op("bob"), "kiosk-1"); code(err) != keys.ReasonBusy {
		t.Errorf("a second open: %v", err)
	}
	if w.audited(auditRefused, keys.ReasonBusy) != 1 {
		t.Error("not audited")
	}
}

func TestExtend(t *testing.T) {
	w := newWorld(t, &Config{Longest: 3 * time.Hour})
	_, b, s := w.connected()
	v, err := w.c.Client(op("ann")).ExtendSession(t.Context(), s.ID, 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if v.Rev != 2 || v.Operator != s.Operator || v.Grant == "" || v.Ends.Sub(s.Ends) < 59*time.Minute {
		t.Errorf("extended to %+v", v)
	}
	eventually(t, "the device has it", func() bool { return b.last().Rev == 2 && b.last().Lifetime >= 2*time.Hour })
	if _, err := w.c.Client(op("ann")).ExtendSession(t.Context(), s.ID, 4*time.Hour); code(err) != "too_long" {
		t.Errorf("beyond the longest: %v", err)
	}
	if _, err := w.c.Client(op("eve")).ExtendSession(t.Context(), s.ID, time.Hour); code(err) != "forbidden" {
		t.Errorf("eve extended it: %v", err)
	}
	if v, err := w.c.Client(User{Name: "boss", Role: Approver}).ExtendSession(t.Context(), s.ID, time.Hour); err != nil || v.Grant != "" {
		t.Errorf("an approver extended it: %+v, %v", v, err)
	}
}

func TestOpenRefused(t *testing.T) {
	w := newWorld(t, &Config{RequireTicket: true})
	open := func(r client.OpenRequest) string {
		if r.Key.IsZero() && r.Ticket != "nokey" {
			r.Key = keys.NewPrivateKey().Public()
		}
		if r.Ticket == "" {
			r.Ticket = "T-1"
		}
		_, err := w.c.Client(op("ann")).OpenSession(t.Context(), r.Device, &r)
		return code(err)
	}
	if got := open(client.OpenRequest{Device: "nobody"}); got != "not_found" {
		t.Errorf("an unknown device: %s", got)
	}
	b := w.booth("kiosk-1", true).serve().known()
	if got := open(client.OpenRequest{Device: "kiosk-1"}); got != "node_unreachable" {
		t.Errorf("no node: %s", got)
	}
	n := w.node("wg-1")
	w.broker.Publish("iot/gen2/status", []byte(`{"vpn":"disconnected"}`), true)
	eventually(t, "gen2 is heard", func() bool { return open(client.OpenRequest{Device: "gen2"}) == "not_registered" })
	for want, r := range map[string]client.OpenRequest{
		keys.ReasonUnsupported: {Device: "kiosk-1", EndToEnd: true},
		"too_long":             {Device: "kiosk-1", Lifetime: 1 << 20},
		"unknown_node":         {Device: "kiosk-1", Node: "wg-9"},
		keys.ReasonMalformed:   {Device: "kiosk-1", Ticket: "nokey"},
	} {
		if got := open(r); got != want {
			t.Errorf("%+v: %s, want %s", r, got, want)
		}
	}
	if _, err := w.open(op("ann"), "kiosk-1"); code(err) != "ticket_required" {
		t.Errorf("without a ticket: %v", err)
	}
	n.mu.Lock()
	n.refuse = "overlap"
	n.mu.Unlock()
	if got := open(client.OpenRequest{Device: "kiosk-1"}); got != "node_refused" {
		t.Errorf("the node refuses: %s", got)
	}
	n.mu.Lock()
	n.refuse = ""
	n.mu.Unlock()
	if b.last() != nil {
		t.Error("a device was woken although the node refused")
	}
	n.stop()
	eventually(t, "the node is gone", func() bool { return w.c.Stats().Nodes == 0 })
	if got := open(client.OpenRequest{Device: "kiosk-1", Node: "wg-1"}); got != "node_unreachable" {
		t.Errorf("a node that is gone: %s", got)
	}
}

// A refused open is a row of the audit, which who is refused does not make large.
func TestOpenRefusedForMadeUpDevice(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.open(User{Name: "eve", Role: Viewer}, strings.Repeat("x", 60_000)); code(err) != "forbidden" {
		t.Fatal(err)
	}
	for a, err := range w.admin.Audit(t.Context(), client.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if a.What == auditRefused && (a.Who != "eve" || a.Code != "forbidden" || a.Device != "") {
			t.Errorf("%.200s", fmt.Sprintf("%+v", a))
		}
	}
	if w.audited(auditRefused, "forbidden") != 1 {
		t.Error("not audited")
	}
}

// A caller who goes away before he has the grant leaves nothing open.
func TestOpenCancelled(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	n.mute = true
	w.booth("kiosk-1", true).serve().known()
	ctx, cancel := contextFor(200 * time.Millisecond)
	defer cancel()
	if _, err := w.c.Client(op("ann")).OpenSession(ctx, "kiosk-1", &client.OpenRequest{Key: keys.NewPrivateKey().Public()}); err == nil {
		t.Fatal("opened")
	}
	eventually(t, "closed", func() bool { return w.c.Stats().Sessions == 0 })
}

func TestReboot(t *testing.T) {
	w := newWorld(t, nil)
	n, b, s := w.connected()
	old := b.keys.Boot()
	b.kill()
	b.boot("kiosk-1")
	b.serve()
	v := w.reaches(s.ID, client.Closed)
	if v.Code != "rebooted" {
		t.Errorf("closed as %+v", v)
	}
	b.known()
	n.proves(b)
	w.reaches(w.mustOpen(op("ann"), "kiosk-1").ID, client.Connected)
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if !w.c.devices["kiosk-1"].superseded(old) {
		t.Error("the former run is not remembered as over")
	}
}

// A device that was off while its session closed has nothing of it after a restart.
func TestRebootWhileClosing(t *testing.T) {
	w := newWorld(t, nil)
	n, b, s := w.connected()
	b.kill()
	w.mustClose(op("ann"), s.ID)
	eventually(t, "the node has let go", func() bool { return n.rev(s.ID) == 0 })
	b.boot("kiosk-1")
	b.serve()
	w.reaches(s.ID, client.Closed)
	b.known()
	n.proves(b)
	w.reaches(w.mustOpen(op("ann"), "kiosk-1").ID, client.Connected)
}

func TestRestart(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	b := w.booth("kiosk-1", true).serve().known()
	gone := w.booth("kiosk-2", true).serve().known()
	n.proves(b)
	n.proves(gone)
	s := w.mustOpen(op("ann"), "kiosk-1")
	before := w.reaches(s.ID, client.Connected)
	// This one is closed while its device is off.
	off := w.mustOpen(op("ann"), "kiosk-2")
	w.reaches(off.ID, client.Connected)
	w.broker.Online("kiosk-2", false)
	w.mustClose(op("ann"), off.ID)
	eventually(t, "the node has let go", func() bool { return n.rev(off.ID) == 0 })

	n.stop()
	w.restart()
	n.connect()
	n.follow()
	v, err := w.admin.Session(t.Context(), s.ID)
	if err != nil || v.State != client.Connected || v.Rev != before.Rev || len(v.Ladder) != len(before.Ladder) || v.Address != before.Address || v.Operators[0].Key != before.Operators[0].Key {
		t.Fatalf("found again as %+v, %v; was %+v", v, err, before)
	}
	// It is still whole: bob joins, the device follows, and ann closes.
	if _, err := w.open(op("bob"), "kiosk-1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device has both", func() bool { g := b.last(); return g.Rev == 2 && len(g.Operators) == 2 })
	if v, _ := w.admin.Session(t.Context(), off.ID); v.State != client.Closing {
		t.Errorf("the other one is %+v", v)
	}
	w.broker.Online("kiosk-2", true)
	w.reaches(off.ID, client.Closed)
	if _, err := w.c.Client(User{Name: "boss", Role: Approver}).CloseForAll(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	w.reaches(s.ID, client.Closed)
	d, err := w.admin.Device(t.Context(), "kiosk-1")
	if err != nil || d.Key != b.keys.Key() || d.State != signaling.Disconnected {
		t.Errorf("device is %+v, %v", d, err)
	}
}

// An opening waits for nodes that are on their way to a control which was started anew,
// and not for one that was there and left.
func TestOpenBeforeNodesAreBack(t *testing.T) {
	clock := newStopped()
	w := newWorld(t, &Config{Now: clock.now})
	n, _ := w.pair()
	n.stop()
	w.restart()
	opened := make(chan error, 1)
	go func() { _, err := w.open(op("ann"), "kiosk-1"); opened <- err }()
	select {
	case err := <-opened:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(2 * lookEvery):
	}
	n.connect()
	n.follow()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	w.booth("kiosk-2", true).serve().known()
	n.stop()
	eventually(t, "the node is gone", func() bool { return w.c.Stats().Nodes == 0 })
	if _, err := w.open(op("ann"), "kiosk-2"); code(err) != machine.CodeNodeUnreachable || w.c.expects() {
		t.Errorf("a node that left is waited for: %v", err)
	}

	w.restart()
	go func() { _, err := w.open(op("ann"), "kiosk-2"); opened <- err }()
	clock.move(expectFor)
	if err := <-opened; code(err) != machine.CodeNodeUnreachable {
		t.Errorf("and in the end: %v", err)
	}
}

func TestNodeComesBack(t *testing.T) {
	w := newWorld(t, nil)
	n, b, s := w.connected()
	n.stop()
	eventually(t, "the node is gone", func() bool { return w.c.Stats().Nodes == 0 })
	// It comes back with nothing, and with a session that nobody knows.
	n.mu.Lock()
	n.held = map[string]int{"stray": 4}
	n.mu.Unlock()
	n.follow()
	eventually(t, "it has the session again, and not the stray", func() bool { return n.rev(s.ID) == 2 && n.rev("stray") == 0 })
	eventually(t, "the device is told to prove it anew", func() bool { return b.last().Rev == 2 && b.last().Prekey == b.grants[0].Prekey })
	eventually(t, "it has proved it", func() bool { w.c.mu.Lock(); defer w.c.mu.Unlock(); return w.c.sessions[s.ID].m.Proved })
	// It comes back with the session as it was, and then with tunnels that began anew.
	for _, fresh := range []bool{false, true} {
		n.stop()
		eventually(t, "the node is gone", func() bool { return w.c.Stats().Nodes == 0 })
		n.mu.Lock()
		n.fresh = fresh
		n.mu.Unlock()
		n.follow()
	}
	eventually(t, "the device is told once more, and only once", func() bool { return b.last().Rev == 3 && n.rev(s.ID) == 3 })
	w.reaches(s.ID, client.Connected)
	n.stop()
	eventually(t, "the node is gone", func() bool { return w.c.Stats().Nodes == 0 })
	w.mustClose(op("ann"), s.ID)
	eventually(t, "the device has closed", func() bool {
		d, _ := w.admin.Device(t.Context(), "kiosk-1")
		return d.State == signaling.Disconnected
	})
	if v, _ := w.admin.Session(t.Context(), s.ID); v.State != client.Closing {
		t.Errorf("closed without the node's word: %+v", v)
	}
	n.follow()
	w.reaches(s.ID, client.Closed)
	if n.rev(s.ID) != 0 {
		t.Error("the node still has it")
	}
}
