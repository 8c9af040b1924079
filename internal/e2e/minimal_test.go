//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// A vendor is the back end of the generation before: mosquitto_pub and
// mosquitto_sub, and nothing but the minimal JSON.
type vendor struct {
	w   *world
	sub *process
}

func (w *world) vendor() *vendor {
	w.t.Helper()
	v := &vendor{w: w, sub: start(w.t, w.operator, "mosquitto_sub", w.mosquittoArgs("vendor", "-t", "iot/"+kiosk+"/status")...)}
	v.sub.quiet = true
	v.sub.waitLog(0, "\n") // the retained status: it listens
	return v
}

func (w *world) mosquittoArgs(user string, args ...string) []string {
	return append([]string{"-h", addrBroker, "-p", "8883", "--cafile", w.ca.File, "-u", user, "-P", "secret-" + user, "-q", "1"}, args...)
}

func (v *vendor) publish(payload string) {
	v.w.t.Helper()
	v.w.operator.Run("mosquitto_pub", v.w.mosquittoArgs("vendor", "-t", "iot/"+kiosk+"/cmd", "-m", payload)...)
}

// A seen is what the minimal JSON says, and the code beside it.
type seen struct {
	VPN, IP, Code string
}

// wait waits for a status after the given place in what was printed.
func (v *vendor) wait(from int, what string, ok func(seen) bool) seen {
	v.w.t.Helper()
	var s seen
	eventually(v.w.t, what, func() error {
		text := v.sub.log.since(from)
		for l := range strings.Lines(text) {
			s = seen{}
			if json.Unmarshal([]byte(l), &s) == nil && ok(s) {
				return nil
			}
		}
		return fmt.Errorf("saw only %d lines, the last %q", strings.Count(text, "\n"), tail(text))
	})
	return s
}

func tail(s string) string { return s[max(0, len(s)-300):] }

// TestMinimalMessages lets the old back end open and close a session, with both
// spellings of the actions, where device and control allow it.
func TestMinimalMessages(t *testing.T) {
	w := newWorld(t, options{bare: true})
	v := w.vendor()
	for _, tt := range []struct{ up, down string }{
		{"vpn_up", "vpn_down"}, {"VPN_CONNECT", "VPN_DISCONNECT"},
	} {
		from := v.sub.log.len()
		v.publish(fmt.Sprintf(`{"action":%q,"server":%q}`, tt.up, node))
		s := v.wait(from, tt.up+" leads to connected", func(s seen) bool { return s.VPN == "connected" && s.IP != "" })
		if a, err := netip.ParseAddr(s.IP); err != nil || !netip.MustParsePrefix("10.166.0.0/16").Contains(a) {
			t.Errorf("%s: the status names %q, want an address of 10.166.0.0/16", tt.up, s.IP)
		}
		// The engineer joins what the old back end began.
		if got := w.ssh("echo", "joined"); !strings.Contains(got, "joined") {
			t.Errorf("ssh into the bare session printed %q", got)
		}
		from = v.sub.log.len()
		v.publish(fmt.Sprintf(`{"action":%q}`, tt.down))
		v.wait(from, tt.down+" leads to disconnected", func(s seen) bool { return s.VPN == "disconnected" })
		w.over()
	}
}

// TestMinimalMessagesRefused is the same where it is not allowed: refused with its
// code, an audit row, and nothing changed.
func TestMinimalMessagesRefused(t *testing.T) {
	w := newWorld(t, options{})
	v := w.vendor()
	from := v.sub.log.len()
	v.publish(fmt.Sprintf(`{"action":"vpn_up","server":%q}`, node))
	v.wait(from, "the refusal", func(s seen) bool { return s.Code == "unsigned" })
	eventually(t, "an audit row of the refusal", func() error {
		if out := w.ctl("audit", "--json", "--device", kiosk); !strings.Contains(out, `"unsigned"`) {
			return errors.New(out)
		}
		return nil
	})
	if d := w.device(); d.Session != "" || d.State != "disconnected" {
		t.Errorf("a refused command changed the device: %+v", d)
	}
}

// TestBrokerKeepsKiosksApart checks the access list that the README shows: a
// kiosk's credentials read no other's commands and write no other's status.
func TestBrokerKeepsKiosksApart(t *testing.T) {
	w := newWorld(t, options{})
	spy := start(t, w.operator, "mosquitto_sub", w.mosquittoArgs("kiosk-2", "-t", "iot/+/cmd", "-t", "iot/"+kiosk+"/cmd", "-t", "iot/"+kiosk+"/status", "-t", "#")...)
	v := w.vendor()
	before := w.device()
	w.operator.Output("mosquitto_pub", w.mosquittoArgs("kiosk-2", "-t", "iot/"+kiosk+"/status", "-m", `{"vpn":"connected","ip":"10.166.9.9"}`)...)
	if got := w.ssh("echo", "hi"); !strings.Contains(got, "hi") {
		t.Errorf("ssh printed %q", got)
	}
	w.settle()
	if got := spy.log.String(); got != "" {
		t.Errorf("kiosk-2 read what is not its own: %q", got)
	}
	if got := v.sub.log.String(); strings.Contains(got, "10.166.9.9") {
		t.Error("kiosk-2 wrote the status of " + kiosk)
	}
	if d := w.device(); d.Address == "10.166.9.9" || d.Boot != before.Boot {
		t.Errorf("control believed it: %+v", d)
	}
}
