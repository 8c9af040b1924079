//go:build linux

package planebench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

const (
	uploads    = 100
	uplink     = 100_000_000 // bit/s
	fairRounds = 3
	slowStart  = 5 * time.Second
	fairWindow = 10 * time.Second
)

// A shared is what became of a line that a hundred share.
type shared struct {
	least, most float64    // of the fair share
	total       float64    // of the line, in bytes of TCP
	resent      float64    // of the segments
	idle, busy  float64    // ms, a keystroke and its echo, at the 95th percentile
	cpu         [3]float64 // cores that devices, operators and the node take
}

// share has a hundred devices upload through a fresh node.
func (b *bench) share(node role) (s shared, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var all []*process
	defer func() {
		for _, p := range slices.Backward(all) {
			p.stop()
		}
	}()
	node.Kind, node.Sessions = "ours", uploads
	spawned := func(i int, r role) *process {
		if err != nil {
			return nil
		}
		var p *process
		if p, err = spawn(ctx, append(b.ends[:], b.node)[i], r); err == nil {
			all = append(all, p)
		}
		return p
	}
	server := spawned(2, node)
	devices := spawned(0, role{Kind: "devices", Node: b.at[0], Sessions: uploads})
	operators := spawned(1, role{Kind: "operators", Node: b.at[1], Sessions: uploads})
	ask := func(p *process, command string) (r report) {
		if err == nil {
			r, err = p.ask(command)
		}
		return r
	}
	ask(operators, "type")
	time.Sleep(2 * time.Second)
	ask(operators, "") // the first ones wait for handshakes
	time.Sleep(slowStart)
	idle := ask(operators, "")
	ask(operators, "fetch")
	time.Sleep(slowStart)
	was := ask(server, "")
	before, sent := ask(operators, ""), ask(devices, "")
	start := time.Now()
	time.Sleep(fairWindow)
	after, resent := ask(operators, ""), ask(devices, "")
	is := ask(server, "")
	if err != nil {
		return s, err
	}
	took := time.Since(start).Seconds()
	for i, d := range []time.Duration{resent.CPU - sent.CPU, after.CPU - before.CPU, is.CPU - was.CPU} {
		s.cpu[i] = d.Seconds() / took
	}
	if len(after.Flows) != uploads || len(after.Echoes) == 0 || len(idle.Echoes) == 0 {
		return s, fmt.Errorf("%d uploads, %d and %d keystrokes", len(after.Flows), len(idle.Echoes), len(after.Echoes))
	}
	var total int64
	var shares []float64
	for i, f := range after.Flows {
		got := f.Bytes - before.Flows[i].Bytes
		total += got
		shares = append(shares, float64(got))
	}
	fair := float64(total) / uploads
	s.least, s.most = slices.Min(shares)/fair, slices.Max(shares)/fair
	s.total = float64(total) * 8 / took / uplink
	var again uint32
	for i, f := range resent.Flows {
		again += f.Resent - sent.Flows[i].Resent
	}
	const segment = mtu - 20 - 32 // TCP with time stamps
	s.resent = float64(again) / (float64(total) / segment)
	s.idle, s.busy = quantile(inMS(idle.Echoes), 0.95), quantile(inMS(after.Echoes), 0.95)
	return s, nil
}

func inMS(list []time.Duration) (out []float64) {
	for _, d := range list {
		out = append(out, ms(d))
	}
	return out
}

// BenchmarkFair measures a node that shares out its line, and one that drops what is
// too much, in turns, and prints the medians. Run it with -benchtime 1x.
func BenchmarkFair(b *testing.B) {
	if os.Getuid() != 0 {
		b.Fatal("gateway/userspace-fair is not measured: network namespaces need root")
	}
	n := newBench(b)
	for b.Loop() {
		var ours, theirs []shared
		for i := range fairRounds {
			for j := range 2 {
				policed := (i+j)%2 == 1
				node := role{Uplink: uplink}
				if policed {
					node = role{Police: uplink}
				}
				s, err := n.share(node)
				if err != nil {
					b.Fatal(err)
				}
				b.Logf("round %d, policed %v: %+v", i+1, policed, s)
				if policed {
					theirs = append(theirs, s)
				} else {
					ours = append(ours, s)
				}
			}
		}
		median := func(list []shared, of func(shared) float64) float64 {
			var all []float64
			for _, s := range list {
				all = append(all, of(s))
			}
			return quantile(all, 0.5)
		}
		least := func(s shared) float64 { return s.least }
		most := func(s shared) float64 { return s.most }
		total := func(s shared) float64 { return s.total }
		resent := func(s shared) float64 { return s.resent }
		wait := func(s shared) float64 { return s.busy / s.idle }
		fmt.Println()
		line("userspace-share-least", median(ours, least), "x-fair", "at-least", 0.85)
		line("userspace-share-most", median(ours, most), "x-fair", "at-most", 1.15)
		line("userspace-share-total", median(ours, total), "x-line", "at-least", 0.9)
		line("userspace-share-rtt", median(ours, wait), "x-idle", "at-most", 3)
		line("userspace-share-resent", median(ours, resent)/median(theirs, resent), "x-policed", "at-most", 1./3)
		line("userspace-share-least-policed", median(theirs, least), "x-fair", "info", 0)
		line("userspace-share-most-policed", median(theirs, most), "x-fair", "info", 0)
		line("userspace-share-total-policed", median(theirs, total), "x-line", "info", 0)
		line("userspace-share-rtt-policed", median(theirs, wait), "x-idle", "info", 0)
		line("userspace-share-resent-ours", 100*median(ours, resent), "%", "info", 0)
		line("userspace-share-resent-policed", 100*median(theirs, resent), "%", "info", 0)
	}
}
