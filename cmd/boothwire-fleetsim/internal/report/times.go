package report

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
)

// Seconds is a duration as reports have it.
type Seconds float64

// In returns d in seconds, to the microsecond.
func In(d time.Duration) Seconds { return Seconds(d.Round(time.Microsecond).Seconds()) }

// Times is how long something took, many times.
type Times struct {
	N     int       `json:"n"`
	P50   Seconds   `json:"p50"`
	P90   Seconds   `json:"p90"`
	P99   Seconds   `json:"p99"`
	Most  Seconds   `json:"most"`
	Curve []Seconds `json:"curve,omitempty"` // the 0th to the 100th percentile
}

// Sum puts durations in order and sums them up.
func Sum(all []time.Duration) Times {
	if len(all) == 0 {
		return Times{}
	}
	all = slices.Clone(all)
	slices.Sort(all)
	t := Times{N: len(all), P50: In(Quantile(all, 0.5)), P90: In(Quantile(all, 0.9)), P99: In(Quantile(all, 0.99)), Most: In(all[len(all)-1])}
	for p := range 101 {
		t.Curve = append(t.Curve, In(Quantile(all, float64(p)/100)))
	}
	return t
}

// Quantile is the smallest of sorted of which at least the share q is no larger: the
// nearest rank. sorted is not empty.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	rank := int(math.Ceil(q*float64(len(sorted)) - 1e-9)) // 0.99 * 100 is not 99 in binary
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// ByTime orders stages: control's and the node's, whose clock is one, by their median,
// then the device's own.
func ByTime(a, b Stage) int {
	device := func(s Stage) int {
		if s.By == client.ByDevice {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(device(a), device(b)), cmp.Compare(a.Times.P50, b.Times.P50), cmp.Compare(a.Stage, b.Stage))
}
