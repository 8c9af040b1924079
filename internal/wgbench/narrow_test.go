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
	var rates []float64
	for _, kind := range []string{plainEnd, ourEnd} {
		s, err := b.measure(both(kind), time.Second)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		t.Logf("%s: %.1f Mbit/s", kind, s.rate)
		rates = append(rates, s.rate)
	}
	// Measured: 1.3 and 611.
	if rates[1] < 10*rates[0] {
		t.Errorf("ours %.1f Mbit/s, plain %.1f", rates[1], rates[0])
	}
}
