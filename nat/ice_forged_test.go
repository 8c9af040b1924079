package nat

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sealed is an offer as an end with the test's secret makes it.
func sealed(t *testing.T, generation uint64, e end, candidates ...string) []byte {
	t.Helper()
	o := offer{Seq: 1, Want: true, Candidates: append([]string{}, candidates...)}
	b, err := o.seal(testKeys(t, generation, e))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// heardOf returns the generations of all that an end sent.
func heardOf(p *post) map[uint64]int {
	list := make(map[uint64]int)
	for len(p.out) > 0 {
		g, _ := generationOf(<-p.out)
		list[g]++
	}
	return list
}

// Accept follows newer generations, and neither older ones nor what nobody with
// the secret sealed.
func TestGenerations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		_, y := posts(false)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = Accept(ctx, w.sock("203.0.113.1:5000", nil), y, testSecret, nil) })
		hear := func(b []byte) map[uint64]int {
			y.in <- b
			time.Sleep(100 * time.Millisecond)
			return heardOf(y)
		}
		forged := sealed(t, 400, controlling)
		forged[len(forged)-1] ^= 1
		for _, step := range []struct {
			what string
			b    []byte
			want uint64
		}{
			{"forged", forged, 0},
			{"first", sealed(t, 200, controlling), 200},
			{"older", sealed(t, 100, controlling), 0},
			{"repeated", sealed(t, 200, controlling), 200},
			{"newer", sealed(t, 300, controlling), 300},
			{"older again", sealed(t, 200, controlling), 0},
			{"forged", forged, 0},
			{"reflected", sealed(t, 500, controlled), 0},
		} {
			time.Sleep(250 * time.Millisecond)
			heardOf(y) // what was sent again meanwhile
			got := hear(step.b)
			if step.want == 0 && len(got) > 1 || step.want != 0 && got[step.want] == 0 {
				t.Errorf("%s: answered %v, want %d", step.what, got, step.want)
			}
			for g := range got {
				if step.want == 0 && g != 200 && g != 300 {
					t.Errorf("%s: answered %v", step.what, got)
				}
			}
			if step.what == "older again" && got[200] != 0 {
				t.Errorf("%s: went back to it", step.what)
			}
		}
		cancel()
		wg.Wait()
	})
}

// Dial keeps to its own generation.
func TestDialKeepsGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		x, _ := posts(false)
		x.in <- sealed(t, 1<<62, controlled)
		start := time.Now()
		_, err := Dial(t.Context(), w.sock("203.0.113.1:5000", nil), x, testSecret, nil)
		var e *Error
		if !errors.As(err, &e) || e.Code() != ReasonUnanswered || time.Since(start) != attemptMost {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		if got := heardOf(x); len(got) != 1 || got[1<<62] != 0 {
			t.Errorf("offered %v", got)
		}
	})
}

// What the far end offers is tried only where it can be.
func TestUnworthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		tried := make(map[netip.AddrPort]bool)
		w.seen = func(_, to netip.AddrPort, _ int) { tried[to] = true }
		_, y := posts(false)
		y.in <- sealed(t, 1, controlling, "host 127.0.0.1:80", "srflx 224.0.0.1:80", "host 169.254.169.254:80",
			"host 0.0.0.0:80", "srflx 192.0.2.1:80", "host [::1]:80")
		_, err := Accept(t.Context(), w.sock("203.0.113.1:5000", nil), y, testSecret, nil)
		if !errors.Is(err, ErrNoPath) {
			t.Errorf("got %v", err)
		}
		if want := netip.MustParseAddrPort("192.0.2.1:80"); len(tried) != 1 || !tried[want] {
			t.Errorf("tried %v, want %v", tried, want)
		}
	})
}

// An answer from the right address that does not know the secret is none.
func TestCheckForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		b := w.sock("203.0.113.1:5000", nil)
		d, c, err, err2 := meet(t, w.sock("198.51.100.1:5000", nil), b, nil)
		if err != nil || err2 != nil {
			t.Fatalf("Dial: %v; Accept: %v", err, err2)
		}
		defer d.Close()
		c.Close()
		stop := b.serve(t, 0)
		defer stop()
		if rtt, err := d.Check(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Check: %v, %v", rtt, err)
		}
	})
}
