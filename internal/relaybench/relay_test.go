//go:build linux

package relaybench

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"
)

// TestLoads passes every load through our server, briefly.
func TestLoads(t *testing.T) {
	if testing.Short() {
		t.Skip("short: builds a program")
	}
	b := newBench(t, ours)
	for _, k := range kinds {
		r := k.role
		r.Server, r.Warm, r.Window, r.Legs = ours, 50*time.Millisecond, time.Second, min(r.Legs, 20)
		res, err := b.measure(r)
		if err != nil {
			t.Errorf("%s: %v", k.name, err)
		} else if (r.Load == bulk || r.Load == mile) && res.Bytes <= 0 || r.Load == stall && res.Gap <= 0 {
			t.Errorf("%s: nothing passed", k.name)
		}
		t.Logf("%s: %+v", k.name, res)
	}
}

// A kind is one measurement, of both servers in turns.
type kind struct {
	name string
	role role
	says []figure
}

// A figure is what a kind says: a ratio of ours to derper's, or ours alone.
type figure struct {
	name   string
	of     func(result) float64
	unit   string
	alone  bool
	least  bool    // the bar is at-least
	bar    float64 // 0: only for information
	digits int     // of each side's own value
}

// The figures of either side's own.
var (
	perGB = func(r result) float64 { return r.CPU.Seconds() / (float64(r.Bytes) / 1e9) }
	rate  = func(r result) float64 { return float64(r.Bytes) * 8 / 1e6 / r.Took.Seconds() }
	ms    = func(of func(result) time.Duration) func(result) float64 {
		return func(r result) float64 { return of(r).Seconds() * 1e3 }
	}
)

var kinds = []kind{
	{"batched", role{Load: bulk, Batch: 16, Open: 128}, []figure{
		{name: "relay/cpu-per-gb", of: perGB, unit: "s/GB", bar: 0.35, digits: 1},
		{name: "relay/throughput", of: rate, unit: "Mbit/s", least: true, bar: 2.5},
		{name: "relay/delivered", of: delivered, unit: "of-sent", digits: 3},
	}},
	{"unbatched", role{Load: bulk, Batch: 1, Open: 32}, []figure{
		{name: "relay/cpu-per-gb-unbatched", of: perGB, unit: "s/GB", bar: 0.65, digits: 1},
		{name: "relay/throughput-unbatched", of: rate, unit: "Mbit/s"},
	}},
	{"idle", role{Load: idle, Legs: 5000}, []figure{
		{name: "relay/idle-rss", of: func(r result) float64 { return r.Leg / 1024 }, unit: "KiB", bar: 0.5, digits: 1},
	}},
	{"last-mile", role{Load: mile}, []figure{
		{name: "relay/last-mile-p50", of: ms(func(r result) time.Duration { return r.P50 }), unit: "ms", bar: 0.3},
		{name: "relay/last-mile-goodput", of: rate, unit: "Mbit/s", least: true, bar: 0.95, digits: 1},
	}},
	{"stall", role{Load: stall}, []figure{
		{name: "relay/stall-gap", of: ms(func(r result) time.Duration { return r.Gap }), unit: "ms", alone: true, bar: 50, digits: 1},
		{name: "relay/stall-gap-before", of: ms(func(r result) time.Duration { return r.Before }), unit: "ms", alone: true, digits: 1},
	}},
}

func delivered(r result) float64 { return float64(r.Bytes) / float64(max(1, r.Sent)) }

// BenchmarkRelay measures ours and derper in turns and prints the medians of the
// rounds' ratios. Run it with -benchtime 1x.
func BenchmarkRelay(b *testing.B) {
	if os.Getuid() != 0 {
		b.Fatal("relay/* is not measured: network namespaces need root")
	}
	n := newBench(b, ours, theirs)
	want := regexp.MustCompile(*only)
	sides := [2]string{ours, theirs}
	for b.Loop() {
		for _, k := range kinds {
			if !want.MatchString(k.name) {
				continue
			}
			var seen [2][]result
			for round := range *rounds {
				for i := range sides {
					i = (i + round) % 2 // each is first in every other round
					r := k.role
					r.Server, r.Warm, r.Window = sides[i], time.Second, *window
					res, err := n.measure(r)
					if err != nil {
						b.Fatal(err)
					}
					seen[i] = append(seen[i], res)
				}
				text := ""
				for _, f := range k.says {
					text += fmt.Sprintf("; %s %.*f and %.*f %s", f.name, f.digits+1, f.of(seen[0][round]), f.digits+1, f.of(seen[1][round]), f.unit)
				}
				fmt.Fprintf(os.Stderr, "%s, round %d: ours and derper's%s\n", k.name, round+1, text)
			}
			for _, f := range k.says {
				f.print(seen)
			}
		}
	}
}

func (f figure) print(seen [2][]result) {
	var list, own, other []float64
	for i := range seen[0] {
		a, b := f.of(seen[0][i]), f.of(seen[1][i])
		own, other = append(own, a), append(other, b)
		list = append(list, a/b)
	}
	for _, l := range [][]float64{list, own, other} {
		slices.Sort(l)
	}
	middle, unit, digits := list[len(list)/2], "x-derper", 2
	if f.alone {
		middle, unit, list, digits = own[len(own)/2], f.unit, own, f.digits
	}
	how, bar, verdict := "info", "-", "ok"
	if f.bar > 0 {
		how, bar = "at-most", fmt.Sprint(f.bar)
		if f.least {
			how = "at-least"
		}
		if f.least && middle < f.bar || !f.least && middle > f.bar {
			verdict = "short"
		}
	}
	fmt.Printf("\nbench %s %.*f %s %s %s %s\n", f.name, digits, middle, unit, how, bar, verdict)
	if f.bar > 0 {
		fmt.Printf("bench %s-quarter %.*f %s info - ok\n", f.name, digits, list[len(list)/4], unit)
		fmt.Printf("bench %s-three-quarters %.*f %s info - ok\n", f.name, digits, list[len(list)*3/4], unit)
	}
	if !f.alone {
		fmt.Printf("bench %s-ours %.*f %s info - ok\n", f.name, f.digits, own[len(own)/2], f.unit)
	}
	fmt.Printf("bench %s-derper %.*f %s info - ok\n", f.name, f.digits, other[len(other)/2], f.unit)
}
