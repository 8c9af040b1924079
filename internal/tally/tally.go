// Package tally counts what a process does, for its Stats: values by their size, and
// events by a word of which strangers may make up any number.
package tally

import (
	"maps"
	"slices"
)

// A Histogram counts values by size: Counts[i] are those up to Bounds[i] and above the
// bound before it, and the last of Counts those above all. Who holds it locks it.
type Histogram struct {
	Bounds []float64
	Counts []uint64
	Sum    float64
}

// New returns an empty histogram. bounds rise, and stay the caller's.
func New(bounds []float64) Histogram {
	return Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
}

// Observe counts a value.
func (h *Histogram) Observe(v float64) {
	i, _ := slices.BinarySearch(h.Bounds, v)
	h.Counts[i]++
	h.Sum += v
}

// Clone returns a histogram that h's later values do not change.
func (h *Histogram) Clone() Histogram {
	return Histogram{Bounds: h.Bounds, Counts: slices.Clone(h.Counts), Sum: h.Sum}
}

// Others stands for every word that is not one of those known.
const Others = "others"

// Words counts events by a word. Who holds it locks it.
type Words struct {
	known  map[string]bool
	counts map[string]uint64
}

// NewWords tells the known words apart, and no others: their number is that of what
// is counted, whoever says them.
func NewWords(known ...string) *Words {
	w := &Words{known: make(map[string]bool, len(known)), counts: make(map[string]uint64)}
	for _, k := range known {
		w.known[k] = true
	}
	return w
}

// Add counts one.
func (w *Words) Add(word string) {
	if !w.known[word] {
		word = Others
	}
	w.counts[word]++
}

// Clone returns the counts of the words that came.
func (w *Words) Clone() map[string]uint64 { return maps.Clone(w.counts) }
