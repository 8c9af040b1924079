package tally

import (
	"maps"
	"slices"
	"testing"
)

func TestHistogram(t *testing.T) {
	h := New([]float64{1, 10})
	for _, v := range []float64{0, 1, 1.5, 10, 11, 100} {
		h.Observe(v)
	}
	before := h.Clone()
	h.Observe(2)
	if want := []uint64{2, 2, 2}; !slices.Equal(before.Counts, want) || before.Sum != 123.5 {
		t.Errorf("counted %v, sum %v", before.Counts, before.Sum)
	}
	if want := []uint64{2, 3, 2}; !slices.Equal(h.Counts, want) {
		t.Errorf("counted %v", h.Counts)
	}
}

// Whatever strangers say, what is counted stays as many words as are known.
func TestWords(t *testing.T) {
	w := NewWords("busy", "idle")
	for _, word := range []string{"busy", "made", "up", "", "busy", Others} {
		w.Add(word)
	}
	if got, want := w.Clone(), map[string]uint64{"busy": 2, Others: 4}; !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}
