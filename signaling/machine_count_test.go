package signaling

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReportBringsFigures has one message say that the path is another and what was
// carried, also when the figures alone would be due.
func TestReportBringsFigures(t *testing.T) {
	x := newRig(nil)
	x.connect("c1", "s1")
	x.wait(time.Second)
	x.wait(2 * countSpacing)
	x.m.take()
	x.m.report(x.now, x.n, Status{VPN: Connected, Path: "relay", Rx: 100, Tx: 200, Relay: time.Second})
	var said []Status
	hear := func() {
		for _, a := range x.m.take() {
			if s, ok := a.(sendAction); ok {
				said = append(said, s.st)
				x.send(s)
			}
		}
	}
	hear()
	for range 5 {
		x.wait(time.Second)
		hear()
	}
	if len(said) != 1 || said[0].Path != "relay" || said[0].Rx != 100 || said[0].Tx != 200 || said[0].Relay != time.Second {
		t.Errorf("said %+v", said)
	}
	x.wait(2 * countSpacing)
	x.m.report(x.now, x.n, Status{VPN: Connected, Path: "relay", Rx: 300})
	if hear(); len(said) != 1 || x.m.state().Rx != 300 {
		t.Errorf("nothing but figures: %+v", said)
	}
}

// TestCounts drives a session's figures: they ride on what is said anyway, are said by
// themselves only while bytes pass and then 30 s apart, never fall, and come with the
// end.
func TestCounts(t *testing.T) {
	x := newRig(nil)
	x.connect("c1", "s1")
	x.wait(time.Second)
	x.log = nil
	var said []Status
	count := func(rx, tx uint64, direct, relay time.Duration) {
		x.m.counted(x.now, x.n, Status{Rx: rx, Tx: tx, Direct: direct, Relay: relay})
		for _, a := range x.m.take() {
			if s, ok := a.(sendAction); ok {
				said = append(said, s.st)
				x.send(s)
			}
		}
	}
	count(100, 200, 0, time.Second)
	if len(said) != 0 {
		t.Errorf("said within 30 s of the document: %+v", said)
	}
	x.wait(countSpacing)
	count(100, 300, 20*time.Second, time.Second)
	if len(said) != 1 || said[0].Rx != 100 || said[0].Tx != 300 || said[0].Direct != 20*time.Second || said[0].Ladder != nil || said[0].VPN != Connected {
		t.Fatalf("said %+v", said)
	}
	if b, err := json.Marshal(said[0]); err != nil || len(b) > 200 {
		t.Errorf("%d bytes: %s, %v", len(b), b, err)
	}
	x.wait(time.Minute)
	count(100, 300, 80*time.Second, time.Second)
	if len(said) != 1 {
		t.Error("said though no byte has passed")
	}
	count(50, 20, 0, 0)
	x.m.report(x.now, x.n, Status{VPN: Degraded, Path: "relay"})
	x.note()
	if s := x.m.state(); s.Rx != 100 || s.Tx != 300 || s.Direct != 80*time.Second || s.Path != "relay" {
		t.Errorf("after a report: %+v", s)
	}
	for range 20 {
		x.wait(countSpacing / 10)
		count(uint64(x.now.Unix()), 300, 0, 0)
	}
	if n := len(said); n < 2 || n > 3 {
		t.Errorf("said %d times in a minute", n-1)
	}
	x.line(false)
	x.wait(time.Hour)
	count(1<<40, 300, 0, 0)
	x.line(true)
	x.down("c2", "s1")
	count(1<<63, 1<<41, 1<<62, 0)
	x.returned(nil)
	if s := x.m.state(); s.VPN != Disconnected || s.Rx != maxBytes || s.Tx != 1<<41 || s.Direct != maxSpent {
		t.Errorf("at the end: %+v", s)
	} else if b, err := json.Marshal(s); err != nil {
		t.Error(err)
	} else if _, err := ParseStatus(b); err != nil {
		t.Errorf("%s: %v", b, err)
	}
	if i := slices.IndexFunc(x.log, func(s string) bool { return strings.HasPrefix(s, "reply s1 connected") }); i < 0 {
		t.Errorf("no reply of its own in %q", x.log)
	}
}
