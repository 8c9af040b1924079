package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Lead says which process decides for the deployment. There is one at a time, in a
// term of its own.
type Lead struct {
	Term    int64
	Control string // one run of a process
	URL     string // where the others carry calls to
	Pin     string // base64url SHA-256 of the public key of its certificate there
	Left    time.Duration
	Until   int64 // in microseconds of the database's clock; another at each beat, 0: given up
}

// ErrFenced is what writes fail with whose term is over.
var ErrFenced = errors.New("store: another process has the lead")

// clock is the database's own, in microseconds.
func (s *Store) clock() string {
	if s.dialect == Postgres {
		return `(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT`
	}
	return `CAST(unixepoch('subsec') * 1000000 AS INTEGER)`
}

// Lead returns the latest term; Left is how long it is in force, by the database's
// clock.
func (s *Store) Lead(ctx context.Context) (Lead, error) {
	return one(ctx, s, func(r row) (l Lead, err error) {
		var left int64
		err = r.Scan(&l.Term, &l.Control, &l.URL, &l.Pin, &left, &l.Until)
		l.Left = time.Duration(max(left, 0)) * time.Microsecond
		return l, err
	}, `SELECT term, control, url, pin, expires - `+s.clock()+`, expires FROM lead WHERE one=1`)
}

// TakeLead begins the term after another, in force or not, and returns its number;
// ErrTaken when that is not any more as it was seen.
func (s *Store) TakeLead(ctx context.Context, l, after Lead, lease time.Duration) (int64, error) {
	term, err := one(ctx, s, func(r row) (n int64, err error) { return n, r.Scan(&n) },
		`UPDATE lead SET term=term+1, control=?, url=?, pin=?, expires=`+s.clock()+`+? WHERE one=1 AND term=? AND expires=? RETURNING term`,
		l.Control, l.URL, l.Pin, lease.Microseconds(), after.Term, after.Until)
	if errors.Is(err, ErrAbsent) {
		return 0, ErrTaken
	}
	return term, err
}

// KeepLead prolongs a term, also one that has lapsed with nobody in its place;
// ErrFenced when a later one has begun.
func (s *Store) KeepLead(ctx context.Context, term int64, lease time.Duration) error {
	return s.setLead(ctx, s.clock()+`+?`, lease.Microseconds(), term)
}

// LeaveLead ends a term, so that the next one can begin at once.
func (s *Store) LeaveLead(ctx context.Context, term int64) error {
	err := s.setLead(ctx, `?`, 0, term)
	if err == nil && s.dialect == Postgres {
		_, err = s.read.ExecContext(ctx, `SELECT pg_notify('`+leadChannel+`', '')`)
	}
	return err
}

func (s *Store) setLead(ctx context.Context, expires string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	r, err := s.read.ExecContext(ctx, rebind(s.dialect, `UPDATE lead SET expires=`+expires+` WHERE one=1 AND term=?`), args...)
	if err != nil {
		return fmt.Errorf("store: lead: %w", err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, ErrFenced)
	}
	return nil
}

// Fence lets nothing more be written once a later term than this has begun.
func (s *Store) Fence(term int64) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.term = term
}

// fenced fails unless term is the latest, and lets no other begin before the
// transaction is over.
func (t *Tx) fenced(term int64) error {
	query, latest := `SELECT term FROM lead WHERE one=1`, int64(0)
	if t.dialect == Postgres {
		query += ` FOR SHARE`
	}
	err := t.query(func(r row) error { return r.Scan(&latest) }, query)
	if err == nil && latest != term {
		err = ErrFenced
	}
	return err
}
