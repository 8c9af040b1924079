package report

import (
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/meter"
)

// climbed is a step of a climb at a rate, with its 99th percentile in seconds.
func climbed(rate, p99 float64, use map[string]Use, busy float64) Outcome {
	o := Outcome{Rate: rate, Asked: 10, Ready: 10, Wake: &Times{N: 10, P99: Seconds(p99)}, Use: use, Busy: busy}
	o.Judge(3*time.Second, 0)
	return o
}

func TestCeiling(t *testing.T) {
	light := map[string]Use{"control": {Mean: 0.5, Most: 0.6}, "broker": {Mean: 0.2, Most: 0.3}}
	heavy := map[string]Use{"control": {Mean: 1.1, Most: 1.5}, "broker": {Mean: 0.3, Most: 0.5}}
	choked := map[string]Use{"control": {Mean: 1.1, Most: 1.5}, "broker": {Mean: 0.9, Most: 0.97}}
	missing := climbed(300, 1, heavy, 1.6)
	missing.Ready, missing.Verdicts = 9, nil
	missing.Judge(3*time.Second, 0)
	stuck := climbed(200, 1, light, 1)
	stuck.Failed = make(map[string]int)
	stuck.Closed(&Outcome{
		Failed:   map[string]int{"node_unreachable": 2},
		Verdicts: []Verdict{{What: "sessions that are left somewhere", Value: 3, Unit: "sessions"}},
	})
	if stuck.Holds() || stuck.Failed["close: node_unreachable"] != 2 {
		t.Errorf("a step of which something is left: %+v", stuck)
	}
	for name, tt := range map[string]struct {
		steps        []Outcome
		held, broke  float64
		limit, cause string
	}{
		"never":         {[]Outcome{climbed(100, 1, light, 1), climbed(200, 2, light, 1)}, 200, 0, "no limit", ""},
		"at once":       {[]Outcome{climbed(100, 4, heavy, 2)}, 0, 100, "99th percentile from a device's own wake: 4 s, limit 3 s", "all 2 cores of the machine, most of it control with 1.10"},
		"the broker":    {[]Outcome{climbed(100, 1, light, 1), climbed(200, 3.5, choked, 2)}, 100, 200, "3.5 s", "the one core of broker: 0.97"},
		"not all ready": {[]Outcome{climbed(200, 1, light, 1), missing}, 200, 300, "ready: 90 %", "no CPU was full: 1.60 of 2 cores"},
		"not closed":    {[]Outcome{climbed(100, 1, light, 1), stuck}, 100, 200, "left somewhere: 3 sessions, limit 0", "no CPU was full"},
		"not on":        {[]Outcome{climbed(100, 1, light, 1), climbed(200, 4, heavy, 2), climbed(300, 1, light, 1)}, 100, 200, "4 s", "all 2 cores"},
		"on the line":   {[]Outcome{climbed(100, 3, light, 1)}, 100, 0, "no limit", ""},
	} {
		c := FindCeiling("wakes", "devices/s", tt.steps, 2, map[string]bool{"broker": true})
		if c.Held != tt.held || c.Broke != tt.broke || !strings.Contains(c.Limit, tt.limit) || !strings.Contains(c.Cause, tt.cause) {
			t.Errorf("%s: got %+v", name, c)
		}
	}
}

func TestUsesCountsTheSecondsOfAStep(t *testing.T) {
	var samples []meter.Sample
	for i, cores := range []float64{9, 1, 2, 3, 9} {
		samples = append(samples, meter.Sample{At: time.Duration(i+1) * time.Second, Busy: cores / 2, Parts: map[string]meter.Reading{"control": {Cores: cores, RSS: int64(i)}}})
	}
	// From the end of the first sample's second to the middle of the fourth's.
	use, busy := Uses(samples, time.Second, 3500*time.Millisecond)
	if u := use["control"]; u.Mean != 2 || u.Most != 3 || u.RSS != 3 || u.CPU != 6 || busy != 1 {
		t.Errorf("got %+v, %v cores busy", u, busy)
	}
	if use, busy := Uses(nil, 0, time.Second); len(use) != 0 || busy != 0 {
		t.Errorf("of nothing: %v, %v", use, busy)
	}
}
