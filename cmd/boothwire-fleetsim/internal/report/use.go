package report

import (
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/meter"
)

// Finish takes the samples of a run, and what they say of all of it.
func (r *Report) Finish(samples []meter.Sample) {
	r.Samples = samples
	r.Costs, r.Peaks = r.costs(), r.peaks()
}

// Uses sums up what every part used in samples of from to to, and the whole machine.
func Uses(samples []meter.Sample, from, to time.Duration) (use map[string]Use, busy float64) {
	use = make(map[string]Use)
	sum, spans := make(map[string]float64), time.Duration(0)
	var before time.Duration
	for _, s := range samples {
		span := s.At - before
		before = s.At
		if s.At <= from || s.At > to+time.Second { // a sample speaks of the second before it
			continue
		}
		spans += span
		busy += s.Busy * span.Seconds()
		for name, r := range s.Parts {
			u := use[name]
			u.Most, u.RSS = max(u.Most, r.Cores), r.RSS
			use[name] = u
			sum[name] += r.Cores * span.Seconds()
		}
	}
	if spans == 0 {
		return use, 0
	}
	for name, u := range use {
		u.Mean = sum[name] / spans.Seconds()
		u.CPU = Seconds(sum[name])
		use[name] = u
	}
	return use, busy / spans.Seconds()
}
