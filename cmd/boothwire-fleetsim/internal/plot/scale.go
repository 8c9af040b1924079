package plot

import "math"

// A scale is an axis from 0 to most, with a tick at each step.
type scale struct{ most, step float64 }

// newScale is an axis that reaches most, with about n steps of 1, 2 or 5 times a power
// of ten.
func newScale(most float64, n int) scale {
	if !(most > 0) || math.IsInf(most, 0) {
		return scale{1, 1}
	}
	rough := most / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	step := 10 * power
	for _, m := range []float64{1, 2, 5} {
		if m*power >= rough {
			step = m * power
			break
		}
	}
	return scale{math.Ceil(most/step-1e-9) * step, step}
}

// at is where v stands on the axis, 0 to 1.
func (s scale) at(v float64) float64 { return min(max(v/s.most, 0), 1) }

func (s scale) ticks() (all []float64) {
	for i := 0; float64(i)*s.step <= s.most*(1+1e-9); i++ {
		all = append(all, float64(i)*s.step)
	}
	return all
}
