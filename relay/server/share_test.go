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
			passed := carry(s, 0, 6*time.Second, 36*time.Second, tc.want, tc.rate)
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

// What others leave is had in seconds, and at once after a pause.
func TestShareRecovers(t *testing.T) {
	const total = 1_000_000 // bytes/s
	for name, tc := range map[string]struct{ pause, settle time.Duration }{
		"at once":       {0, 12 * time.Second},
		"after a pause": {40 * time.Second, time.Second},
	} {
		s := newShare(total)
		over := 10 * time.Second
		carry(s, 0, 0, over, make([]float64, 10), nil)
		if each := s.each(); each > total/5 {
			t.Errorf("%s: a share of %.0f bytes/s while ten want all", name, each)
		}
		from := over + tc.pause
		got := carry(s, from, from+tc.settle, from+tc.settle+10*time.Second, make([]float64, 1), nil)[0]
		if got < 0.8*total {
			t.Errorf("%s: %.0f bytes/s of %d for one who is left", name, got, total)
		}
		t.Logf("%s: %.0f bytes/s", name, got)
	}
}

// carry has directions send through s from one time to another, each as much as it
// wants and its token's rate lets it, and returns what each had after settle, in
// bytes/s.
func carry(s *share, from, settle, to time.Duration, want, rate []float64) (passed []float64) {
	legs := make([]bucket, len(want))
	due, passed := make([]time.Duration, len(legs)), make([]float64, len(legs))
	for i := range legs {
		legs[i].last = from
	}
	for i := range rate {
		legs[i].rate = rate[i]
	}
	const step = time.Millisecond
	for now := from + step; now < to; now += step {
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
			if w := want[i]; w > 0 {
				due[i] = max(due[i], now+time.Duration(float64(n)/w*float64(time.Second)))
			}
			if now > settle {
				passed[i] += float64(n) / (to - settle).Seconds()
			}
		}
	}
	return passed
}
