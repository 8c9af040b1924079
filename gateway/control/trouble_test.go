package control

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/nat"
	"github.com/boothwire/boothwire/signaling"
)

// The words of packages that do not know each other are the same.
func TestNATWords(t *testing.T) {
	ours, theirs := slices.Clone(natClasses), nat.Behaviours()
	slices.Sort(ours)
	slices.Sort(theirs)
	if !slices.Equal(ours, theirs) {
		t.Errorf("control knows\n%q, nat says\n%q", ours, theirs)
	}
}

// What a device says of its network is shown if it is one of our words, and kept.
func TestNAT(t *testing.T) {
	w := newWorld(t, nil)
	class := make(chan string, 2)
	class <- "endpoint_independent/address_dependent"
	b := w.booth("kiosk-1", true)
	b.cfg.NAT = func() string {
		select {
		case c := <-class:
			return c
		default:
			return "as_somebody_made_up"
		}
	}
	b.serve().known()
	if d, err := w.admin.Device(t.Context(), "kiosk-1"); err != nil || d.NAT != "endpoint_independent/address_dependent" {
		t.Fatalf("%+v, %v", d, err)
	}
	w.restart()
	if d, err := w.admin.Device(t.Context(), "kiosk-1"); err != nil || d.NAT != "endpoint_independent/address_dependent" {
		t.Errorf("after a restart %+v, %v", d, err)
	}
	w.broker.Online("kiosk-1", false)
	w.broker.Online("kiosk-1", true)
	eventually(t, "an unknown word to be left out", func() bool {
		d, err := w.admin.Device(t.Context(), "kiosk-1")
		return err == nil && d.NAT == ""
	})
}

func TestTrouble(t *testing.T) {
	now := time.Now()
	online := func(d *device) { d.row.Seen, d.row.Due, d.prekeys = now, now.Add(time.Hour), make([]keys.PublicKey, 4) }
	c := &Control{}
	for what, tt := range map[string]struct {
		make  func(*device)
		want  string
		turns time.Duration // from now
	}{
		"well":                  {func(*device) {}, "", time.Hour},
		"never heard of":        {func(d *device) { *d = device{} }, "unknown", 0},
		"late":                  {func(d *device) { d.row.Seen, d.row.Due = now.Add(-time.Hour), now.Add(-time.Second) }, "late", time.Hour - time.Second*2 + time.Second},
		"silent":                {func(d *device) { d.row.Seen, d.row.Due = now.Add(-9*time.Hour), now.Add(-8*time.Hour) }, "unknown", 0},
		"no keys":               {func(d *device) { d.prekeys = nil }, "no_prekeys", time.Hour},
		"another key":           {func(d *device) { d.row.Foreign, d.row.ForeignAt = "k", now.Add(-23*time.Hour-30*time.Minute) }, "foreign_key", 30 * time.Minute},
		"another key, long ago": {func(d *device) { d.row.Foreign, d.row.ForeignAt = "k", now.Add(-25*time.Hour) }, "", time.Hour},
		"all at once": {func(d *device) {
			d.row.Foreign, d.row.ForeignAt, d.row.ClonedAt, d.refused = "k", now, now, now.Add(-10*time.Minute)
			d.row.LastFailed, d.prekeys = "no_proof", nil
		}, "clone foreign_key refused last_failed:no_proof no_prekeys", 5 * time.Minute},
	} {
		d := &device{}
		online(d)
		tt.make(d)
		v := client.Device{Online: online2(d, now), Prekeys: len(d.prekeys)}
		if got := strings.Join(c.trouble(d, v, now), " "); got != tt.want {
			t.Errorf("%s: %q, want %q", what, got, tt.want)
		}
		turns := d.turns(now)
		if turns.IsZero() != (tt.turns == 0) || !turns.IsZero() && turns.Sub(now).Round(time.Minute) != tt.turns.Round(time.Minute) {
			t.Errorf("%s: turns in %v, want %v", what, turns.Sub(now), tt.turns)
		}
	}
}

func online2(d *device, now time.Time) string { return online(d.row.Seen, d.row.Due, now) }

// What goes wrong is shown, and goes when it is over.
func TestTroubleShown(t *testing.T) {
	w := newWorld(t, nil)
	n, b := w.pair()
	has := func(what, code string, want bool) {
		t.Helper()
		eventually(t, what, func() bool {
			d, err := w.admin.Device(t.Context(), "kiosk-1")
			return err == nil && slices.Contains(d.Trouble, code) == want
		})
	}
	b.mu.Lock()
	b.fail = failing("no_route")
	b.mu.Unlock()
	w.fails(op("ann"), "kiosk-1", "no_route")
	has("the failure", "last_failed:no_route", true)
	w.restart()
	n.connect()
	n.follow()
	has("the failure after a restart", "last_failed:no_route", true)
	b.mu.Lock()
	b.fail = nil
	b.mu.Unlock()
	b.known()
	w.reaches(w.mustOpen(op("ann"), "kiosk-1").ID, client.Connected)
	has("that it went well again", "last_failed:no_route", false)

	other, err := keys.OpenDevice("kiosk-1", keys.NewMemory(), keys.Trust{Roots: w.c.Roots(), Issuer: w.cfg.Issuer})
	if err != nil {
		t.Fatal(err)
	}
	token, err := other.Sign(keys.TypeStatus, []byte(`{"v":1,"vpn":"disconnected"}`))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signaling.Status{VPN: signaling.Disconnected, Token: token}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	w.c.deliver(w.fleet, signaling.Message{Device: "kiosk-1", Payload: payload})
	has("another key", client.TroubleForeignKey, true)
	has("what is not its own doing", client.TroubleRefused, false)
	for _, command := range []string{`{"action":"vpn_up","session":"s1","token":"a.b.c"}`, `{"action":"nonsense"}`} {
		w.broker.Publish("iot/kiosk-1/cmd", []byte(command), false)
	}
	has("a command that it refused", client.TroubleRefused, true)
}

// failing is an error with a code, as a handler returns it.
type failing string

func (f failing) Error() string { return string(f) }
func (f failing) Code() string  { return string(f) }
