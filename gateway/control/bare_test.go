package control

import (
	"context"
	"testing"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

func TestBare(t *testing.T) {
	standing := keys.NewPrivateKey().Public()
	w := newWorld(t, &Config{Bare: BarePolicy{Nodes: []string{"wg-1"}, Standing: []Standing{{User: "gen2", Key: standing}}}})
	n := w.node("wg-1")
	b := w.booth("kiosk-1", true)
	b.cfg.Bare = []string{"wg-1", "wg-2"}
	b.serve().known()
	n.proves(b)
	w.broker.Publish("iot/kiosk-1/cmd", []byte(`{"action":"VPN_CONNECT","server":"wg-1"}`), false)
	var id string
	eventually(t, "a session", func() bool { id = w.shown("kiosk-1").Session; return id != "" })
	v := w.reaches(id, client.Connected)
	if !v.Bare || len(v.Operators) != 1 || v.Operators[0].Key != standing || v.Operators[0].User != "gen2" {
		t.Errorf("opened as %+v", v)
	}
	// An engineer joins, and the minimal down still ends it.
	if s := w.mustOpen(op("ann"), "kiosk-1"); s.ID != id || len(s.Operators) != 2 {
		t.Errorf("joined as %+v", s)
	}
	eventually(t, "the device has both", func() bool { return len(b.last().Operators) == 2 })
	w.broker.Publish("iot/kiosk-1/cmd", []byte(`{"action":"vpn_down"}`), false)
	w.reaches(id, client.Closed)
	eventually(t, "the node has let go", func() bool { return n.rev(id) == 0 })

	// Policy refuses another node, and the device hears so.
	statuses := w.statuses("kiosk-1")
	// Once: what is said all the time is a flood, in which the device hears no refusal.
	w.broker.Publish("iot/kiosk-1/cmd", []byte(`{"action":"vpn_up","server":"wg-2"}`), false)
	eventually(t, "refused", func() bool {
		select {
		case s := <-statuses:
			return s.VPN == signaling.Failed && s.Code == keys.ReasonNodeNotAllowed
		default:
			return false
		}
	})
	if w.audited(auditRequest, keys.ReasonNodeNotAllowed) == 0 {
		t.Error("not audited")
	}
}

// statuses yields what a device publishes, until the test ends.
func (w *world) statuses(id string) <-chan *signaling.Status {
	out := make(chan *signaling.Status, 64)
	ctx, cancel := context.WithCancel(context.Background())
	reader := w.broker.Fleet("reader-" + id)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(out)
		for m, err := range reader.Statuses(ctx) {
			if err != nil {
				return
			}
			st, err := signaling.ParseStatus(m.Payload)
			if err == nil && m.Device == id {
				select {
				case out <- st:
				default:
				}
			}
		}
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	return out
}

func TestBareRefusedByDefault(t *testing.T) {
	w := newWorld(t, nil)
	w.node("wg-1")
	b := w.booth("kiosk-1", true)
	b.cfg.Bare = []string{"wg-1"}
	b.serve().known()
	w.broker.Publish("iot/kiosk-1/cmd", []byte(`{"action":"vpn_up","server":"wg-1"}`), false)
	eventually(t, "the refusal", func() bool { return w.audited(auditRequest, keys.ReasonNodeNotAllowed) > 0 })
	if w.c.Stats().Sessions != 0 {
		t.Error("a session opened")
	}
}

// A request with a session is a fresh key in mid-session: the node has it first.
func TestRekey(t *testing.T) {
	w := newWorld(t, nil)
	n, b, s := w.connected()
	was := b.last().Prekey
	token, nonce, err := b.keys.Request([]byte(`{"server":"wg-1","session":"` + s.ID + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	msg := outer(t, signaling.Status{VPN: signaling.Connected, Request: token})
	w.hears("kiosk-1", msg, false)
	before := w.c.Stats().Replayed
	w.hears("kiosk-1", msg, false)
	if got := w.c.Stats().Replayed; got != before+1 {
		t.Errorf("a repeat counts as %d replays", got-before)
	}
	eventually(t, "the device has a fresh key", func() bool { g := b.last(); return g.Rev == 2 && g.Prekey != was && g.Re == nonce })
	if n.rev(s.ID) != 2 {
		t.Error("the node does not have it")
	}
	if w.audited(auditRequest, "") != 0 {
		t.Error("a repeat was looked at")
	}
	// Of a session that is not there it is refused.
	token, _, err = b.keys.Request([]byte(`{"server":"wg-1","session":"nothing"}`))
	if err != nil {
		t.Fatal(err)
	}
	w.hears("kiosk-1", outer(t, signaling.Status{VPN: signaling.Connected, Request: token}), false)
	if w.audited(auditRequest, keys.ReasonClosed) != 1 {
		t.Error("not audited")
	}
	if v, _ := w.admin.Session(t.Context(), s.ID); v.Rev != 2 || v.State != client.Connected {
		t.Errorf("session is %+v", v)
	}
}
