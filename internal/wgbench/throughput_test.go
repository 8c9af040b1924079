//go:build linux

package wgbench

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
)

const (
	defaultWindow = 3 * time.Second
	warmUp        = 500 * time.Millisecond // the handshake and TCP's slow start
)

// A bench is two namespaces joined by a veth pair.
type bench struct {
	hosts [2]*netlab.Host
	sock  [2]netip.AddrPort
	runs  int
}

func newBench(tb testing.TB) *bench {
	l := netlab.New(tb)
	b := &bench{hosts: [2]*netlab.Host{l.Host("left"), l.Host("right")}}
	k := l.Link(b.hosts[0], "192.0.2.1/24", b.hosts[1], "192.0.2.2/24")
	b.sock = [2]netip.AddrPort{netip.AddrPortFrom(k.A.Addr, port), netip.AddrPortFrom(k.B.Addr, port)}
	l.Start()
	return b
}

// A flow is what a measurement passes traffic through: TCP from the near end to the
// far one, or back.
type flow struct {
	near, far string // kinds of ends; the far one has a TUN
	back      bool
}

func both(kind string) flow { return flow{near: kind, far: kind} }

// A sample is one measurement.
type sample struct {
	perCPU float64 // Mbit per CPU-second of both ends
	perAll float64 // Mbit per CPU-second of both ends, the source and the sink
	rate   float64 // Mbit/s
}

// measure passes a flow through two fresh ends, fresh because a process may be lucky
// or not with its memory.
func (b *bench) measure(f flow, window time.Duration) (s sample, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), window+time.Minute)
	defer cancel()
	b.runs++
	ends, err := ends(f.near, f.far)
	if err != nil {
		return s, err
	}
	var all []*process
	defer func() {
		for _, p := range slices.Backward(all) {
			p.stop()
		}
	}()
	add := func(h *netlab.Host, r role) error {
		p, err := spawn(ctx, h, r)
		if err == nil {
			all = append(all, p)
		}
		return err
	}
	tcp := netip.AddrPortFrom(ends[1].Own, 7).String()
	for i := range ends {
		r := &ends[i]
		r.Path = b.sock[1-i]
		r.TCP, r.Reads = tcp, f.back
		if *profile != "" {
			r.Profile = filepath.Join(*profile, fmt.Sprintf("%s-%d-%d.pprof", r.Kind, b.runs, i))
		}
	}
	from, to := source, sink // at the near end and the far one
	if f.back {
		from, to = to, from
	}
	last := role{Kind: from, TCP: tcp, Dial: true}
	if f.near == driverlessEnd || f.near == upstreamEnd {
		last = ends[0]
	} else if err := add(b.hosts[0], ends[0]); err != nil {
		return s, err
	}
	if err := add(b.hosts[1], ends[1]); err != nil {
		return s, err
	}
	if err := add(b.hosts[1], role{Kind: to, TCP: tcp}); err != nil {
		return s, err
	}
	if err := add(b.hosts[0], last); err != nil {
		return s, err
	}
	time.Sleep(warmUp)
	start := time.Now()
	before, err := usage(all)
	if err != nil {
		return s, err
	}
	time.Sleep(window)
	after, err := usage(all)
	if err != nil {
		return s, err
	}
	took := time.Since(start)
	mbit := float64(after.bytes-before.bytes) * 8 / 1e6
	if mbit == 0 || after.ends == before.ends {
		return s, errors.New("no traffic")
	}
	return sample{
		perCPU: mbit / (after.ends - before.ends).Seconds(),
		perAll: mbit / (after.all - before.all).Seconds(),
		rate:   mbit / took.Seconds(),
	}, nil
}

// A total is what the processes of a measurement have used and passed so far.
type total struct {
	ends, all time.Duration // of CPU
	bytes     int64
}

func usage(ps []*process) (sum total, err error) {
	for _, p := range ps {
		r, err := p.report()
		if err != nil {
			return sum, err
		}
		if p.kind != source && p.kind != sink {
			sum.ends += r.CPU
		}
		sum.all += r.CPU
		sum.bytes += r.Bytes
	}
	return sum, nil
}

// ends are the two devices of a measurement, with keys of their own.
func ends(kinds ...string) (r [2]role, err error) {
	for i := range r {
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return r, err
		}
		r[i].Kind = kinds[i]
		r[i].Private = hex.EncodeToString(k.Bytes())
		r[1-i].Public = hex.EncodeToString(k.PublicKey().Bytes())
		r[i].Own = netip.AddrFrom4([4]byte{10, 166, 0, byte(i + 1)})
		r[1-i].Far = r[i].Own
	}
	return r, nil
}

func TestBothBindsCarryTraffic(t *testing.T) {
	b := newBench(t)
	for _, kind := range []string{plainEnd, ourEnd} {
		s, err := b.measure(both(kind), 100*time.Millisecond)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		t.Logf("%s: %.0f Mbit/s, %.0f Mbit per CPU-second", kind, s.rate, s.perCPU)
	}
}

// BenchmarkThroughput measures alternating pairs, ours against plain, and prints
// the median of the pairs' ratios. Run it with -benchtime 1x.
func BenchmarkThroughput(b *testing.B) {
	if os.Getuid() != 0 {
		b.Fatal("tunnel/throughput is not measured: network namespaces need root")
	}
	n := newBench(b)
	kinds := [2]string{plainEnd, ourEnd}
	name := "tunnel/throughput"
	if *control {
		kinds[1] = plainEnd
		name += "-control"
	}
	for b.Loop() {
		var ratios, plain, ours, rates []float64
		for i := range *pairs {
			var s [2]sample
			for j := range kinds {
				j = (i + j) % 2 // each is first in every other pair
				var err error
				if s[j], err = n.measure(both(kinds[j]), *window); err != nil {
					b.Fatal(err)
				}
			}
			ratios = append(ratios, s[1].perCPU/s[0].perCPU)
			rates = append(rates, s[1].rate/s[0].rate)
			plain, ours = append(plain, s[0].perCPU), append(ours, s[1].perCPU)
			b.Logf("pair %d: plain %.0f, ours %.0f Mbit per CPU-second, ratio %.3f", i+1, s[0].perCPU, s[1].perCPU, ratios[i])
		}
		for _, list := range [][]float64{ratios, plain, ours, rates} {
			slices.Sort(list)
		}
		middle := *pairs / 2
		ratio, verdict := ratios[middle], "ok"
		if ratio < 0.97 {
			verdict = "short"
		}
		fmt.Printf("\nbench %s %.3f x-plain at-least 0.97 %s\n", name, ratio, verdict)
		fmt.Printf("bench %s-quarter %.3f x-plain info - ok\n", name, ratios[*pairs/4])
		fmt.Printf("bench %s-three-quarters %.3f x-plain info - ok\n", name, ratios[*pairs*3/4])
		fmt.Printf("bench %s-least %.3f x-plain info - ok\n", name, ratios[0])
		fmt.Printf("bench %s-most %.3f x-plain info - ok\n", name, ratios[*pairs-1])
		fmt.Printf("bench %s-rate %.3f x-plain info - ok\n", name, rates[middle])
		fmt.Printf("bench %s-plain %.0f Mbit/cpu-s info - ok\n", name, plain[middle])
		fmt.Printf("bench %s-ours %.0f Mbit/cpu-s info - ok\n", name, ours[middle])
		b.ReportMetric(ratio, "x-plain")
	}
}
