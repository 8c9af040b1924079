package report

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/meter"
	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/worker"
)

// sampled is a report of four seconds: two sessions open in the second, and end in the
// last.
func sampled() *Report {
	r := &Report{Name: "x", Title: "A <title>", Machine: Machine{Cores: 2}, Devices: 4, Nodes: 1, Workers: 1, Command: []string{"boothwire-fleetsim", "storm"}}
	r.Idle = meter.Sample{Fleet: worker.Figures{Online: 4}, Parts: map[string]meter.Reading{
		"node-1": {RSS: 1000 << 10}, "devices": {RSS: 400 << 10}, "control": {RSS: 0}, "broker": {RSS: 40 << 10},
	}}
	var samples []meter.Sample
	for i, open := range []int{0, 2, 2, 0} {
		samples = append(samples, meter.Sample{At: time.Duration(i+1) * time.Second, Busy: 1, Fleet: worker.Figures{Online: 4, Open: open}, Parts: map[string]meter.Reading{
			"node-1":  {RSS: 1000<<10 + int64(open)*40<<10, Counts: meter.Counts{"node_peers": float64(2 * open), "node_handshakes_total": float64(min(i, 2) * 10)}},
			"devices": {RSS: 400<<10 + int64(open)*300<<10},
			"control": {RSS: int64(open) * 30 << 10},
			"broker":  {RSS: 40 << 10},
		}})
	}
	o := climbed(5, 1, map[string]Use{"control": {Mean: 1}}, 1)
	o.Climb, o.What, o.Failed = true, "wake & see", map[string]int{"no_proof": 1}
	r.Outcomes = []Outcome{o}
	r.Finish(samples)
	return r
}

func TestCosts(t *testing.T) {
	want := []Cost{
		{"node-1", "WireGuard peer", 20 << 10, 4},
		{"control", "session", 30 << 10, 2},
		{"devices", "session", 300 << 10, 2},
		{"devices", "device that is online", 100 << 10, 4},
		{"broker", "device that is online", 10 << 10, 4},
	}
	if got := sampled().Costs; !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	if got := new(Report).costs(); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

func TestRatesSurviveGapsAndRestarts(t *testing.T) {
	var r Report
	for i, v := range []float64{0, 10, -1, 30, 5} {
		s := meter.Sample{At: time.Duration(i+1) * time.Second, Parts: map[string]meter.Reading{"node-1": {}}}
		if v >= 0 {
			s.Parts["node-1"] = meter.Reading{Counts: meter.Counts{"n": v}}
		}
		r.Samples = append(r.Samples, s)
	}
	x, y := r.rates("n")
	if !slices.Equal(x, []float64{2, 4, 5}) || !slices.Equal(y, []float64{10, 20, 0}) {
		t.Errorf("got %v at %v", y, x)
	}
}

func TestBusiest(t *testing.T) {
	if got := busiest([]float64{1, 9, 3, 0}, 2); got != 6 {
		t.Errorf("got %v", got)
	}
	if got := busiest([]float64{4}, 10); got != 4 {
		t.Errorf("of one: %v", got)
	}
}

func TestPageStandsAlone(t *testing.T) {
	var b bytes.Buffer
	if err := sampled().WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"A &lt;title&gt;", "wake &amp; see", "1 no_proof", "20.0 KiB", "All that must hold holds", "<svg"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q", want)
		}
	}
	for _, never := range []string{"http", "src=", "@import", "<script", "ZgotmplZ"} {
		if strings.Contains(b.String(), never) {
			t.Errorf("the page has %q", never)
		}
	}
}

func TestJSONComesBack(t *testing.T) {
	var b bytes.Buffer
	want := sampled()
	if err := want.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Costs, want.Costs) || got.Outcomes[0].What != "wake & see" || got.Samples[1].Fleet.Open != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	r := sampled()
	r.Ceiling = FindCeiling("wakes", "devices a second", r.Outcomes, 2, nil)
	r.WriteText(&b)
	for _, want := range []string{"wake & see: 10 of 10", "1 no_proof", "node-1: 20.0 KiB for each WireGuard peer (4)", "wakes up to 5 devices a second: no limit was reached"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
