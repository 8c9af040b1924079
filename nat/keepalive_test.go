package nat

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Against NATs that drop idle bindings, it settles just below what they keep and
// loses few of them on the way.
func TestKeepalive(t *testing.T) {
	for _, timeout := range []time.Duration{16, 20, 30, 45, 60, 90, 119, 300} {
		timeout *= time.Second
		var k Keepalive
		lost := 0
		for range 40 {
			idle := k.Interval()
			if idle < KeepaliveMin || idle > KeepaliveMax {
				t.Fatalf("%v: interval %v", timeout, idle)
			}
			if idle >= timeout {
				lost++
			}
			k.Observe(idle, idle < timeout)
		}
		got := k.Interval()
		if k.calm >= k.patience && k.bad != 0 {
			k.calm = 0 // it is about to try again
			got = k.Interval()
		}
		best := min(timeout, KeepaliveMax)
		if got >= timeout || got < best*7/10 || lost > 6 {
			t.Errorf("%v: settled at %v, %d bindings lost", timeout, got, lost)
		}
	}
}

// Lost packets do not keep it down for ever.
func TestKeepaliveLoss(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var k Keepalive
		const timeout = 100 * time.Second
		for i := range 4000 {
			idle := k.Interval()
			survived := idle < timeout
			if i < 200 && rng.IntN(10) == 0 {
				survived = false
			}
			k.Observe(idle, survived)
		}
		if got := k.good; got >= timeout || got < timeout*7/10 {
			t.Errorf("seed %d: settled at %v", seed, got)
		}
	}
}

func TestKeepaliveBounds(t *testing.T) {
	for _, c := range []struct {
		k    Keepalive
		want time.Duration
	}{
		{Keepalive{}, KeepaliveMin},
		{Keepalive{Min: time.Second}, time.Second},
		{Keepalive{Min: time.Hour}, time.Hour},
		{Keepalive{Min: time.Minute, Max: time.Second}, time.Minute},
		{Keepalive{Min: -1, Max: -1}, KeepaliveMin},
	} {
		if got := c.k.Interval(); got != c.want {
			t.Errorf("%+v: %v", c.k, got)
		}
	}
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 2))
		k := Keepalive{Min: 10 * time.Second, Max: time.Minute}
		for range 200 {
			k.Observe(time.Duration(rng.Int64N(int64(2*time.Minute)))-time.Second, rng.IntN(2) == 0)
			if got := k.Interval(); got < k.Min || got > k.Max {
				t.Fatalf("seed %d: %v", seed, got)
			}
		}
	}
	// Down at once, when what survived does not any more.
	var k Keepalive
	for range 10 {
		k.Observe(k.Interval(), true)
	}
	if k.Interval() != KeepaliveMax {
		t.Errorf("%v", k.Interval())
	}
	k.Observe(KeepaliveMax, false)
	if got := k.Interval(); got > KeepaliveMax*3/4 {
		t.Errorf("after a loss %v", got)
	}
}
