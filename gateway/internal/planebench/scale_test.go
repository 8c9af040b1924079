//go:build linux

package planebench

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/internal/planetest"
	"github.com/boothwire/boothwire/gateway/internal/userspace"
)

const (
	manySessions = 10_000 // each of two peers
	settle       = 5 * time.Second
	idle         = 20 * time.Second
	samples      = 1000
)

// scaled is a plane with many sessions and no traffic.
type scaled struct {
	plane *userspace.Plane
	next  int
}

func (r *role) scale() (worker, error) {
	p, err := userspace.Open(userspace.Config{PrivateKey: [32]byte(keyOf("node", 0).Bytes()), Proof: nodeAddress, MTU: mtu})
	return &scaled{plane: p}, err
}

// report does what the command says: fill, open and close further sessions, end.
func (s *scaled) report(command string, r *report) error {
	r.Values = make(map[string]float64)
	switch command {
	case "fill":
		for s.next < manySessions {
			if err := s.plane.Set(sessionOf(s.next)); err != nil {
				return err
			}
			s.next++
		}
	case "churn":
		var opened, closed []float64
		for i := range samples {
			n := sessionOf(manySessions + i)
			start := time.Now()
			if err := s.plane.Set(n); err != nil {
				return err
			}
			opened = append(opened, ms(time.Since(start)))
		}
		for i := range samples {
			id := sessionOf(manySessions + i).ID
			start := time.Now()
			s.plane.Remove(id)
			closed = append(closed, ms(time.Since(start)))
		}
		r.Values["open"], r.Values["close"] = quantile(opened, 0.99), quantile(closed, 0.99)
	case "end":
		start := time.Now()
		err := s.plane.Close()
		r.Values["shutdown"] = time.Since(start).Seconds()
		return err
	}
	return nil
}

func (s *scaled) stop() { s.plane.Close() }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func quantile(list []float64, q float64) float64 {
	slices.Sort(list)
	return list[min(len(list)-1, int(q*float64(len(list))))]
}

// BenchmarkScale measures a plane of 10,000 sessions in a process of its own.
func BenchmarkScale(b *testing.B) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	for b.Loop() {
		p, err := spawn(ctx, nil, role{Kind: "scale"})
		if err != nil {
			b.Fatal(err)
		}
		ask := func(command string) report {
			r, err := p.ask(command)
			if err != nil {
				b.Fatal(err)
			}
			return r
		}
		empty := ask("").RSS
		ask("fill")
		time.Sleep(settle)
		filled := ask("")
		time.Sleep(idle)
		rested := ask("")
		churn := ask("churn")
		end := ask("end")
		p.stop()
		cut := quantile(cuts(b), 0.99)
		fmt.Println()
		line("userspace-open-p99", churn.Values["open"], "ms", "at-most", 50)
		line("userspace-close-p99", churn.Values["close"], "ms", "at-most", 50)
		line("userspace-cut-p99", cut, "ms", "at-most", 100)
		line("userspace-rss-per-peer", float64(filled.RSS-empty)/1024/manySessions/2, "KiB", "at-most", 30)
		line("userspace-idle-cpu", 100*(rested.CPU-filled.CPU).Seconds()/idle.Seconds(), "%", "at-most", 1)
		line("userspace-shutdown", end.Values["shutdown"], "s", "at-most", 30)
	}
}

// cuts is how long the last packets of live connections took, in ms.
func cuts(b *testing.B) (list []float64) {
	for _, d := range planetest.Cut(b, planetest.Subject{Open: func(t testing.TB, cfg planetest.Config) planetest.Plane {
		p, err := userspace.Open(userspace.Config{PrivateKey: cfg.PrivateKey, Proof: cfg.Proof, MTU: cfg.MTU, Uplink: cfg.Uplink})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}}, manySessions, 50) {
		list = append(list, ms(d))
	}
	return list
}
