package store

import (
	"time"

	"github.com/boothwire/boothwire/internal/tally"
)

// Stats are a store's figures since Open; the first two and the last are of now.
type Stats struct {
	Waiting int             // writes that wait for a transaction
	Lag     time.Duration   // how long the oldest of Later's has waited
	Failed  uint64          // transactions that the database did not take
	Dropped uint64          // of Later's writes, because too many waited
	Commits tally.Histogram // seconds that transactions took
	Broken  bool            // it did not take the last one
}

// commitBounds are seconds: from a transaction of SQLite without a sync to the most
// that one may take.
var commitBounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30}

func newStats() Stats { return Stats{Commits: tally.New(commitBounds)} }

// Stats is a snapshot of the figures.
func (s *Store) Stats() Stats { return s.w.snapshot() }

func (w *writer) snapshot() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.stats
	st.Commits = w.stats.Commits.Clone()
	st.Waiting = len(w.now) + len(w.order)
	oldest := w.under
	if oldest.IsZero() && len(w.order) > 0 {
		oldest = w.behind[w.order[0]].since
	}
	if !oldest.IsZero() {
		st.Lag = time.Since(oldest)
	}
	return st
}

// measure counts a transaction; broken says that the database failed, not a task.
func (w *writer) measure(took time.Duration, broken bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Commits.Observe(took.Seconds())
	w.stats.Broken = broken
	if broken {
		w.stats.Failed++
	}
}
