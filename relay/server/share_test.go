package server

import (
	"testing"
	"time"
)

// The total is kept, those that want little have it, and the others have the same.
func TestShare(t *testing.T) {
	const total = 1_000_000 // bytes/s
	for name, tc := range map[string]struct {
		want []float64 // bytes/s of each direction; 0: all it can get
		rate []float64 // of its session's token; 0: none
		got  []float64
	}{
		"one":             {want: []float64{0}, got: []float64{1_000_000}},
		"four":            {want: []float64{0, 0, 0, 0}, got: []float64{250_000, 250_000, 250_000, 250_000}},
		"a modest one":    {want: []float64{0, 0, 100_000}, got: []float64{450_000, 450_000, 100_000}},
		"a slower token":  {want: []float64{0, 0}, rate: []float64{200_000, 0}, got: []float64{200_000, 800_000}},
		"room for all":    {want: []float64{100_000, 200_000}, got: []float64{100_000, 200_000}},
		"many at a crawl": {want: make([]float64, 100), got: []float64{0: 10_000, 99: 10_000}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShare(total)
			legs := make([]bucket, len(tc.want))
			due, passed := make([]time.Duration, len(legs)), make([]float64, len(legs))
			for i := range tc.rate {
				legs[i].rate = tc.rate[i]
			}
			const settle, span, step = 60 * time.Second, 120 * time.Second, time.Millisecond
			for now := step; now < span; now += step {
				for i := range legs {
					if now < due[i] {
						continue
					}
					n := 16 << 10
					b := &legs[i]
					b.most = s.each()
					if b.shut(now) {
						n = 0
					}
					s.take(n, now)
					due[i] = now + b.take(n)
					if w := tc.want[i]; w > 0 {
						due[i] = max(due[i], now+time.Duration(float64(n)/w*float64(time.Second)))
					}
					if now > settle {
						passed[i] += float64(n) / (span - settle).Seconds()
					}
				}
			}
			sum := 0.0
			for i, got := range passed {
				sum += got
				if want := tc.got[i]; want > 0 && (got < 0.7*want || got > 1.2*want) {
					t.Errorf("direction %d: %.0f bytes/s, want %.0f", i, got, want)
				}
			}
			if sum > 1.05*total {
				t.Errorf("%.0f bytes/s in all", sum)
			}
			t.Logf("%.0f bytes/s in all, a share of %.0f", sum, s.each())
		})
	}
}
