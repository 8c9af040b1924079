package control

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/signaling"
)

// What a device says of its session's paths and bytes is shown while it lives, kept
// over a restart, and in the record and the audit at its end.
func TestCarried(t *testing.T) {
	clock := &hand{}
	w := newWorld(t, &Config{Now: clock.now})
	b := w.able("kiosk-1")
	said := make(chan *signaling.Session, 1)
	b.offers = func(_ context.Context, s *signaling.Session) { said <- s }
	s := w.mustBetween(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	device := <-said
	shows := func(what string, ok func(client.Session) bool) {
		t.Helper()
		eventually(t, what, func() bool {
			v, err := w.admin.Session(t.Context(), s.ID)
			return err == nil && ok(v)
		})
	}
	clock.move(2 * time.Minute)
	device.Count(&signaling.Status{Rx: 1000, Tx: 2000, Direct: 90 * time.Second, Relay: 3 * time.Second})
	device.Report(&signaling.Status{VPN: signaling.Connected, Path: "direct", Why: "direct: srflx-srflx port-restricted/symmetric 23 ms"})
	shows("what the device said", func(v client.Session) bool {
		return v.Path == "direct" && strings.Contains(v.PathWhy, "port-restricted/symmetric") && v.Why == v.PathWhy &&
			v.Rx == 2000 && v.Tx == 1000 && v.Paths == client.PathTimes{Direct: 90, Relay: 3}
	})
	device.Report(&signaling.Status{VPN: signaling.Degraded, Path: "direct", Why: "packets stay unanswered"})
	for device, want := range map[string]int{"": 0, "kiosk-1": 1} {
		for v, err := range w.admin.Sessions(t.Context(), client.Filter{Device: device}) {
			if err != nil || len(v.Samples) < want || want == 0 && v.Samples != nil || v.User != "ann" {
				t.Errorf("in the list of %q: %+v, %v", device, v, err)
			}
			if n := len(v.Samples); n > 0 && (v.Samples[n-1].Path != "direct" || v.Samples[n-1].After < 120) {
				t.Errorf("sampled %+v", v.Samples)
			}
		}
	}
	shows("a doubt beside the path", func(v client.Session) bool {
		return v.State == client.Degraded && v.Why == "packets stay unanswered" && strings.HasPrefix(v.PathWhy, "direct: ")
	})
	if st := w.c.Stats(); st.EndToEndPaths != (PathTimes{90 * time.Second, 3 * time.Second}) || st.NodePaths != (PathTimes{}) {
		t.Errorf("stats %+v", st)
	}
	w.restart()
	shows("the same after a restart", func(v client.Session) bool {
		return v.Rx == 2000 && strings.HasPrefix(v.PathWhy, "direct: ") && v.Paths.Direct == 90
	})
	// No session is longer on its paths than it is old, whatever its device says.
	device.Count(&signaling.Status{Rx: 5000, Tx: 2000, Direct: 100 * time.Hour, Relay: 100 * time.Hour})
	w.mustClose(op("ann"), s.ID)
	w.reaches(s.ID, client.Closed)
	shows("the last figures", func(v client.Session) bool { return v.State == client.Closed && v.Tx == 5000 })
	v, err := w.admin.Session(t.Context(), s.ID)
	if n := len(v.Samples); n == 0 || v.Samples[n-1].Path != "direct" {
		t.Errorf("sampled %+v", v.Samples)
	}
	if err != nil || v.Rx != 2000 || v.Paths.Direct < 90 || v.Paths.Direct+v.Paths.Relay > 200 || !strings.HasPrefix(v.PathWhy, "direct: ") {
		t.Errorf("in the record: %+v, %v", v, err)
	}
	if st := w.c.Stats(); st.EndToEndPaths.Direct > 200*time.Second {
		t.Errorf("a lie is counted: %+v", st)
	}
	eventually(t, "the audit", func() bool { return w.audited(auditCarried, "") == 1 })
	for a, err := range w.admin.Audit(t.Context(), client.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if a.What == auditCarried && (a.Rx != 2000 || a.Tx != 5000) || a.What == auditEnded && a.Rx != 2000 {
			t.Errorf("audited %+v", a)
		}
		if a.What == auditCarried && !strings.HasPrefix(a.Detail, "2000 bytes from the device, 5000 to it; ") {
			t.Errorf("audited %+v", a)
		}
	}
}

// Where a node counts the bytes, the device's own do not.
func TestCarriedByNode(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	b := w.able("kiosk-1")
	n.proves(b)
	said := make(chan *signaling.Session, 1)
	b.offers = func(_ context.Context, s *signaling.Session) { said <- s }
	s := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	device := <-said
	device.Count(&signaling.Status{Rx: 1 << 40, Tx: 1 << 40, Relay: time.Second})
	device.Report(&signaling.Status{VPN: signaling.Connected, Path: "relay", Why: "relay: direct left no_reply"})
	eventually(t, "its path", func() bool {
		v, err := w.admin.Session(t.Context(), s.ID)
		return err == nil && v.Path == "relay" && v.Paths.Relay == 1
	})
	if v, err := w.admin.Session(t.Context(), s.ID); err != nil || v.Rx != 0 || v.Tx != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	if st := w.c.Stats(); st.NodePaths.Relay != time.Second || st.EndToEndPaths != (PathTimes{}) {
		t.Errorf("stats %+v", st)
	}
}
