//go:build linux

package wgbench

import (
	"testing"
	"time"
)

// TestNarrowLink passes traffic over a link that is narrower than the tunnel's
// full packets. There WireGuard alone loses every batch that the kernel would have
// to segment; ours goes on with fragments.
func TestNarrowLink(t *testing.T) {
	b := newBench(t)
	for _, h := range b.hosts {
		h.Run("ip", "link", "set", "net0", "mtu", "1400")
	}
	// Measured: 1.3 and 611; with the race detector, on busy cores, 2.0 and 11.2.
	var plain, ours float64
	for last := time.Second; last <= 4*time.Second; last *= 2 {
		plain, ours = b.rate(t, plainEnd, last), b.rate(t, ourEnd, last)
		t.Logf("in %v: plain %.1f Mbit/s, ours %.1f", last, plain, ours)
		if ours >= 3*plain {
			return
		}
	}
	t.Errorf("ours %.1f Mbit/s, plain %.1f", ours, plain)
}

// rate is that of one kind of ends, in Mbit/s.
func (b *bench) rate(t *testing.T, kind string, last time.Duration) float64 {
	t.Helper()
	s, err := b.measure(both(kind), last)
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	return s.rate
}
