package report

import (
	"testing"
	"time"
)

func TestQuantileIsTheNearestRank(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i+1) * time.Second
	}
	for _, tt := range []struct {
		of   []time.Duration
		q    float64
		want time.Duration
	}{
		{hundred, 0, time.Second},
		{hundred, 0.5, 50 * time.Second},
		{hundred, 0.99, 99 * time.Second},
		{hundred, 0.991, 100 * time.Second},
		{hundred, 1, 100 * time.Second},
		{hundred[:1], 0.99, time.Second},
		{hundred[:10], 0.99, 10 * time.Second}, // of few the worst counts
		{hundred[:3], 0.5, 2 * time.Second},
		{hundred[:4], 0.5, 2 * time.Second},
	} {
		if got := Quantile(tt.of, tt.q); got != tt.want {
			t.Errorf("of %d, %v: got %v, want %v", len(tt.of), tt.q, got, tt.want)
		}
	}
}

func TestSumLeavesItsArgumentAlone(t *testing.T) {
	in := []time.Duration{3 * time.Second, time.Second, 2 * time.Second}
	got := Sum(in)
	if got.N != 3 || got.P50 != 2 || got.P99 != 3 || got.Most != 3 || len(got.Curve) != 101 || got.Curve[0] != 1 || got.Curve[100] != 3 {
		t.Errorf("got %+v", got)
	}
	if in[0] != 3*time.Second {
		t.Error("the argument was sorted")
	}
	if none := Sum(nil); none.N != 0 || none.Curve != nil {
		t.Errorf("of nothing: %+v", none)
	}
}
