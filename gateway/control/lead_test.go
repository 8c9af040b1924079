package control

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/internal/postgrestest"
)

// Whoever reads what is open keeps the lead however long that takes, and stops when
// another has it.
func TestLeadDuring(t *testing.T) {
	db, err := store.Open(t.Context(), postgrestest.Start(t).Database())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	began := time.Now()
	term, err := db.TakeLead(t.Context(), store.Lead{}, time.Minute)
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
			err := db.LeaveLead(ctx, term)
			if err == nil {
				_, err = db.TakeLead(ctx, store.Lead{}, time.Minute)
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
