package control

import (
	"testing"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/signaling"
)

func TestStory(t *testing.T) {
	w := newWorld(t, nil)
	n, _ := w.pair()

	s := w.mustOpen(op("ann"), "kiosk-1")
	if s.Rev != 1 || s.Grant == "" || s.Operator == "" || s.Node != "wg-1" || !s.Address.IsValid() || len(s.Operators) != 1 {
		t.Fatalf("opened as %+v", s)
	}
	g, err := n.roots.VerifyGrant([]byte(s.Grant))
	if err != nil {
		t.Fatal(err)
	}
	if g.Operators[0].ID != s.Operator || g.Operators[0].Key != s.Operators[0].Key {
		t.Errorf("the grant names %+v", g.Operators)
	}
	v := w.reaches(s.ID, client.Connected)
	if v.Code != "" || v.Rev != 1 {
		t.Errorf("connected as %+v", v)
	}
	steps := map[string]bool{}
	for _, p := range v.Ladder {
		steps[p.By+" "+string(p.Stage)] = true
	}
	for _, want := range []string{"control granted", "node installed", "control woken", "device received", "device authorised", "device ready", "node proved", "control ready"} {
		if !steps[want] {
			t.Errorf("no %q in the ladder %v", want, v.Ladder)
		}
	}
	d, err := w.admin.Device(t.Context(), "kiosk-1")
	if err != nil || d.Session != s.ID || d.Online != client.Online || d.Gen != 3 || d.Address != s.Address {
		t.Errorf("device is %+v, %v", d, err)
	}

	w.mustClose(op("ann"), s.ID)
	v = w.reaches(s.ID, client.Closed)
	if v.Code != "" || v.Closed.IsZero() {
		t.Errorf("closed as %+v", v)
	}
	if n.rev(s.ID) != 0 {
		t.Error("the node still has it")
	}
	eventually(t, "device is silent", func() bool {
		d, err := w.admin.Device(t.Context(), "kiosk-1")
		return err == nil && d.State == signaling.Disconnected && d.Session == ""
	})
	for _, what := range []string{auditOpen, auditClose, auditEnded, auditEnrol} {
		if got := w.audited(what, ""); got != 1 {
			t.Errorf("%d audit rows %s", got, what)
		}
	}
	// Its address stays with the device, and its next session is another one.
	again := w.mustOpen(op("ann"), "kiosk-1")
	if again.ID == s.ID || again.Address != s.Address || again.Operators[0].Address == s.Operators[0].Address {
		t.Errorf("again as %+v after %+v", again, s)
	}
	w.reaches(again.ID, client.Connected)
}
