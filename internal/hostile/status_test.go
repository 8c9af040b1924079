package hostile

import (
	"bytes"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// status sends control what a hostile broker might, as the victim's.
func (w *world) status(payload []byte) {
	w.medium.inject(packet{Topic: "iot/" + victim + "/status", Payload: payload})
}

// says is a message that a device signed.
func says(d *keys.Device, typ string, st signaling.Status) []byte {
	return must(signaling.Status{VPN: st.VPN, Session: st.Session, Token: must(d.Sign(typ, must(st.MarshalJSON())))}.MarshalJSON())
}

// TestStatusesRefused: each with its own code, one log line and one audit row, and
// control's view of everything as it was.
func TestStatusesRefused(t *testing.T) {
	t.Parallel()
	evil := signaling.Status{V: 1, VPN: signaling.Failed, Version: "evil", Code: "lifetime"}
	about := func(w *world) signaling.Status {
		st := evil
		st.Session, st.Rev = w.control(victim).ID, 1
		return st
	}
	cases := []struct {
		name, code string
		send       func(w *world)
	}{
		{"unsigned", "unsigned", func(w *world) { w.status(must(about(w).MarshalJSON())) }},
		{"forged", "forged", func(w *world) {
			st := must(signaling.ParseStatus(w.kiosks[victim].tap.signedMessage()))
			st.Token = rewrite(st.Token, func(_, p map[string]any) { p["vpn"], p["session"] = "failed", w.control(victim).ID })
			w.status(must(st.MarshalJSON()))
		}},
		{"replayed", "replayed", func(w *world) { w.status(w.kiosks[victim].tap.signedMessage()) }},
		{"foreign key", "unknown_signer", func(w *world) {
			poser := must(keys.OpenDevice(victim, keys.NewMemory(), keys.Trust{Roots: w.ctl.Roots()}))
			w.status(says(poser, keys.TypeReply, about(w)))
		}},
		{"a boot that is over", "wrong_boot", func(w *world) { w.status(says(w.former, keys.TypeReply, about(w))) }},
		{"a boot that control never heard of", "wrong_boot", func(w *world) { w.status(says(w.unheard, keys.TypeReply, about(w))) }},
		{"swapped between devices", "wrong_device", func(w *world) { w.status(says(w.kiosks[other].device, keys.TypeReply, about(w))) }},
		{"wrong deployment", "wrong_issuer", func(w *world) {
			d := must(keys.OpenDevice(victim, w.kiosks[victim].store, keys.Trust{Roots: w.ctl.Roots(), Issuer: "elsewhere"}))
			w.status(says(d, keys.TypeReply, about(w)))
		}},
		{"wrong kind", "wrong_kind", func(w *world) {
			w.status(must(signaling.Status{VPN: signaling.Failed, Token: w.kiosks[victim].device.Prekeys()}.MarshalJSON()))
		}},
		{"truncated", "truncated", func(w *world) { b := w.kiosks[victim].tap.signedMessage(); w.status(b[:len(b)/2]) }},
		{"oversized", "oversized", func(w *world) { w.status(bytes.Repeat([]byte{'{'}, 1<<20)) }},
		{"not JSON", "malformed", func(w *world) { w.status([]byte("hello")) }},
		{"deep JSON", "too_deep", func(w *world) {
			w.status([]byte(`{"vpn":"failed","x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}"))
		}},
		{"duplicate keys", "duplicate_key", func(w *world) { w.status([]byte(`{"vpn":"connected","vpn":"failed"}`)) }},
	}
	w := newWorld(t, config{})
	w.reboot()
	c, err := w.connect(victim, patience)
	if err != nil {
		t.Fatalf("%v\n%s", err, w.describe())
	}
	known := make(map[string]int) // refusals so far, by code
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			before := settle(w)
			tc.send(w)
			known[tc.code]++
			count := func(code string) (rows, n int) {
				for _, r := range w.refusals() {
					if r.Code == code && r.What == "status_refused" && r.Device == victim {
						rows, n = rows+1, n+r.Count
					}
				}
				return rows, n
			}
			w.eventually("an audit row", func() bool { _, n := count(tc.code); return n >= known[tc.code] })
			after := settle(w)
			if tc.name == "foreign key" {
				after = without(after, `"foreign"`)
			}
			unchanged(t, before, after)
			if rows, n := count(tc.code); rows != 1 || n != known[tc.code] {
				t.Errorf("%d in %d rows with %s, want %d in one", n, rows, tc.code, known[tc.code])
			}
			if with, _ := lines(w.ctlLogs, "status refused", tc.code); with != 1 {
				t.Errorf("%d log lines with %s", with, tc.code)
			}
		})
		if t.Failed() {
			return
		}
	}
	if rows := w.refusals(); len(rows) != len(known) {
		t.Errorf("audited %+v, want %v", rows, known)
	}
	if err := c.echo(); err != nil {
		t.Errorf("the open session: %v", err)
	}
	c.close()
	w.idle(victim)
	w.works(victim)
}

// reboot starts the victim anew; control knows the run before as over.
func (w *world) reboot() {
	w.t.Helper()
	k := w.kiosks[victim]
	w.former = k.device
	w.unheard = must(keys.OpenDevice(victim, k.store, keys.Trust{Roots: w.ctl.Roots()}))
	k.stop()
	c := config{}
	w.startKioskFrom(victim, c, k.store)
	k = w.kiosks[victim]
	w.eventually("the new run", func() bool {
		return must(w.admin.Device(w.t.Context(), victim)).Boot == k.device.Boot()
	})
	w.idle(victim)
}

// signedMessage is the first that the device signed.
func (l *tap) signedMessage() []byte {
	for _, b := range l.messages() {
		if st, err := signaling.ParseStatus(b); err == nil && len(st.Token) > 0 {
			return b
		}
	}
	return nil
}

// without drops the lines that hold a text.
func without(s, text string) string {
	var keep []string
	for _, l := range strings.Split(s, "\n") {
		if !strings.Contains(l, text) {
			keep = append(keep, l)
		}
	}
	return strings.Join(keep, "\n")
}
