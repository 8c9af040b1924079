//go:build linux

package wgbench

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// The flows of BenchmarkNetstack. The far end has a TUN in all of them.
var (
	plainFlow      = [2]flow{{near: plainEnd, far: plainEnd}, {near: plainEnd, far: plainEnd, back: true}}
	driverlessFlow = [2]flow{{near: driverlessEnd, far: plainEnd}, {near: driverlessEnd, far: plainEnd, back: true}}
	upstreamFlow   = [2]flow{{near: upstreamEnd, far: plainEnd}, {near: upstreamEnd, far: plainEnd, back: true}}
)

func TestNetstacksCarryTraffic(t *testing.T) {
	b := newBench(t)
	for _, flows := range [][2]flow{driverlessFlow, upstreamFlow} {
		for _, f := range flows {
			s, err := b.measure(f, 100*time.Millisecond)
			if err != nil {
				t.Fatalf("%+v: %v", f, err)
			}
			t.Logf("%+v: %.0f Mbit/s, %.0f Mbit per CPU-second", f, s.rate, s.perAll)
		}
	}
}

// A ratio is one figure of BenchmarkNetstack: one flow's over another's.
type ratio struct {
	name  string
	of    func(sample) float64
	a, b  int // of a round's samples
	unit  string
	least float64 // 0: only for information
	list  []float64
}

// BenchmarkNetstack measures a driverless end, upstream's netstack and a plain TUN, in
// turns, and prints the medians of the ratios of each round. Run it with
// -benchtime 1x.
func BenchmarkNetstack(b *testing.B) {
	if os.Getuid() != 0 {
		b.Fatal("path/netstack is not measured: network namespaces need root")
	}
	n := newBench(b)
	rate := func(s sample) float64 { return s.rate }
	perAll := func(s sample) float64 { return s.perAll }
	for b.Loop() {
		flows := []flow{driverlessFlow[0], upstreamFlow[0], plainFlow[0], driverlessFlow[1], plainFlow[1]}
		ratios := []*ratio{
			{name: "path/netstack-send-x-upstream", of: rate, a: 0, b: 1, unit: "x-upstream", least: 3},
			{name: "path/netstack-send-x-upstream-cpu", of: perAll, a: 0, b: 1, unit: "x-upstream"},
			{name: "path/netstack-send-x-tun", of: perAll, a: 0, b: 2, unit: "x-tun", least: 0.5},
			{name: "path/netstack-send-x-tun-rate", of: rate, a: 0, b: 2, unit: "x-tun"},
			{name: "path/netstack-recv-x-tun", of: perAll, a: 3, b: 4, unit: "x-tun", least: 0.9},
			{name: "path/netstack-recv-x-tun-rate", of: rate, a: 3, b: 4, unit: "x-tun"},
		}
		samples := make([]sample, len(flows))
		rounds := (*pairs + 1) / 2 // each takes as long as two or three pairs
		for round := range rounds {
			for i := range flows {
				i = (i + round) % len(flows) // each is the first one in turn
				var err error
				if samples[i], err = n.measure(flows[i], *window); err != nil {
					b.Fatalf("%+v: %v", flows[i], err)
				}
			}
			for _, r := range ratios {
				r.list = append(r.list, r.of(samples[r.a])/r.of(samples[r.b]))
			}
			b.Logf("round %d: send %.0f Mbit/s, upstream %.0f, TUN %.0f; receive %.0f, TUN %.0f; Mbit per CPU-second %.0f, %.0f, %.0f; %.0f, %.0f", round+1,
				samples[0].rate, samples[1].rate, samples[2].rate, samples[3].rate, samples[4].rate,
				samples[0].perAll, samples[1].perAll, samples[2].perAll, samples[3].perAll, samples[4].perAll)
		}
		for _, r := range ratios {
			r.print()
		}
	}
}

func (r *ratio) print() {
	slices.Sort(r.list)
	middle, kind, bar, verdict := r.list[len(r.list)/2], "info", "-", "ok"
	if r.least > 0 {
		kind, bar = "at-least", fmt.Sprint(r.least)
		if middle < r.least {
			verdict = "short"
		}
	}
	fmt.Printf("\nbench %s %.2f %s %s %s %s\n", r.name, middle, r.unit, kind, bar, verdict)
	if r.least > 0 {
		fmt.Printf("bench %s-quarter %.2f %s info - ok\n", r.name, r.list[len(r.list)/4], r.unit)
		fmt.Printf("bench %s-three-quarters %.2f %s info - ok\n", r.name, r.list[len(r.list)*3/4], r.unit)
	}
}
