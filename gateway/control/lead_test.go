package control

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/internal/postgrestest"
)

// The database's clock may be set, or be another machine's: nobody loses the lead by
// that, and one that nobody keeps is free.
func TestSight(t *testing.T) {
	type look struct {
		after time.Duration // since the first
		until int64
		left  time.Duration
		over  bool
	}
	const s = time.Second
	for name, looks := range map[string][]look{
		"nobody had it":                 {{0, 0, 0, true}},
		"it lapsed before":              {{0, 100, 0, true}},
		"kept":                          {{0, 100, 15 * s, false}, {5 * s, 105, 15 * s, false}, {10 * s, 110, 15 * s, false}, {25 * s, 125, 14 * s, false}},
		"lapsed":                        {{0, 100, 14 * s, false}, {13 * s, 100, 1 * s, false}, {15 * s, 100, 0, true}},
		"given up":                      {{0, 100, 14 * s, false}, {1 * s, 0, 0, true}},
		"the clock is set ahead":        {{0, 100, 14 * s, false}, {1 * s, 100, 0, false}, {13 * s, 100, 0, false}, {14 * s, 100, 0, true}},
		"ahead, and kept":               {{0, 100, 14 * s, false}, {4 * s, 100, 0, false}, {5 * s, 3700, 15 * s, false}, {19 * s, 3700, 0, true}},
		"the clock is set back":         {{0, 100, 14 * s, false}, {1 * s, 100, time.Hour, false}, {15 * s, 100, time.Hour, false}, {16 * s, 100, time.Hour, true}},
		"back, and kept":                {{0, 100, 14 * s, false}, {1 * s, 100, time.Hour, false}, {5 * s, 15, 15 * s, false}, {16 * s, 20, 15 * s, false}},
		"kept again at the last moment": {{0, 100, time.Hour, false}, {16 * s, 100, time.Hour, true}, {17 * s, 117, 15 * s, false}},
	} {
		var seen sight
		began := time.Now()
		for i, l := range looks {
			if got := seen.over(store.Lead{Term: 1, Until: l.until, Left: l.left}, began.Add(l.after)); got != l.over {
				t.Errorf("%s: look %d: over is %v", name, i, got)
			}
		}
	}
}

// Whoever reads what is open keeps the lead however long that takes, and stops when
// another has it.
func TestLeadDuring(t *testing.T) {
	db, err := store.Open(t.Context(), postgrestest.Start(t).Database())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	began := time.Now()
	term, err := db.TakeLead(t.Context(), store.Lead{}, store.Lead{}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	l := &lead{term: term, until: began}
	if err := l.during(t.Context(), db, func(ctx context.Context) error {
		eventually(t, "a beat", func() bool {
			now, err := db.Lead(ctx)
			return err == nil && now.Left <= leaseFor
		})
		return nil
	}); err != nil || !l.until.After(began.Add(leaseFor-leaseSlack)) {
		t.Errorf("until %v after it began, %v", l.until.Sub(began), err)
	}
	err = l.during(t.Context(), db, func(ctx context.Context) error {
		eventually(t, "another takes it", func() bool { // a beat may come between the two
			now, err := db.Lead(ctx)
			if err == nil {
				_, err = db.TakeLead(ctx, store.Lead{}, now, time.Minute)
			}
			return err == nil
		})
		select {
		case <-ctx.Done():
		case <-time.After(patience):
			t.Error("it goes on")
		}
		return ctx.Err()
	})
	if !errors.Is(err, ErrDeposed) {
		t.Errorf("deposed, it fails with %v", err)
	}
}
