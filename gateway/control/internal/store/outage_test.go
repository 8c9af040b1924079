package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/postgrestest"
)

// openToLose opens a store that fails in no other way than that its database is away,
// and counts how often it says so.
func openToLose(t *testing.T, dsn string) (*Store, *atomic.Int32) {
	t.Helper()
	s, err := Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	failures := new(atomic.Int32)
	s.Failed(func(err error) {
		if !errors.Is(err, ErrLost) {
			t.Error(err)
		}
		failures.Add(1)
	})
	return s, failures
}

// flushed waits until all that was to be written is.
func flushed(t *testing.T, s *Store) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err := s.Flush(t.Context()); err == nil {
			return
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// What was noted while the server was away, or stood still, is written when it is
// back; who waits for a write is told that it may not be there.
func TestOutage(t *testing.T) {
	server := postgrestest.Start(t)
	for name, outage := range map[string]struct{ begin, end func() }{
		"killed": {server.Kill, server.Restart},
		"frozen": {server.Freeze, server.Thaw},
	} {
		t.Run(name, func(t *testing.T) {
			s, failures := openToLose(t, server.Database())
			defer s.Close()
			put := func(id string, roots int) {
				s.Later(id, func(tx *Tx) error { return tx.PutDevice(Device{ID: id, Key: "k", Roots: roots}) })
			}
			put("before", 1)
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			outage.begin()
			for i := range 700 {
				put(fmt.Sprint("meanwhile-", i), 1)
			}
			put("before", 2)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			err := s.Do(ctx, func(tx *Tx) error { return tx.PutDevice(Device{ID: "unsure", Key: "k"}) })
			cancel()
			if err == nil {
				t.Error("written to a server that is away")
			}
			put("before", 3)
			outage.end()
			flushed(t, s)
			list, err := s.Devices(t.Context())
			roots := make(map[string]int)
			for _, d := range list {
				roots[d.ID] = d.Roots
			}
			delete(roots, "unsure")
			if err != nil || len(roots) != 701 || roots["before"] != 3 {
				t.Errorf("%d devices, the first of %d, %v", len(roots), roots["before"], err)
			}
			if failures.Load() > 2 {
				t.Errorf("told %d times of one outage", failures.Load())
			}
		})
	}
}

// A database that takes no writes, and says so, is as good as one that is away: what
// was to be written is written when it takes them again.
func TestTakesNothing(t *testing.T) {
	set := func(text string) func(*testing.T, *Store) {
		return func(t *testing.T, s *Store) {
			for _, q := range []string{text, `SELECT pg_reload_conf()`} {
				if _, err := s.read.ExecContext(t.Context(), q); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	pages := func(text string) func(*testing.T, *Store) {
		return func(t *testing.T, s *Store) {
			do(t, s, func(tx *Tx) error { return tx.query(func(row) error { return nil }, text) })
		}
	}
	server := postgrestest.Start(t)
	for name, tt := range map[string]struct {
		dsn        string
		begin, end func(*testing.T, *Store)
	}{
		"PostgreSQL that only reads": {server.Database(), set(`ALTER SYSTEM SET default_transaction_read_only = on`), set(`ALTER SYSTEM RESET default_transaction_read_only`)},
		"a full disk":                {filepath.Join(t.TempDir(), "control.db"), pages(`PRAGMA max_page_count=1`), pages(`PRAGMA max_page_count=100000`)},
	} {
		t.Run(name, func(t *testing.T) {
			s, failures := openToLose(t, tt.dsn)
			defer s.Close()
			large := strings.Repeat("x", 10_000) // pages of its own
			put := func(id string) func(*Tx) error {
				return func(tx *Tx) error { return tx.PutDevice(Device{ID: id, Key: "k", Version: large}) }
			}
			tt.begin(t, s)
			var err error
			for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
				if err = s.Do(t.Context(), put("unsure")); err != nil {
					break
				} else if time.Now().After(end) {
					t.Fatal("it takes all")
				}
			}
			if !errors.Is(err, ErrLost) {
				t.Errorf("who waits is told %v", err)
			}
			for i := range 20 {
				s.Later(fmt.Sprint(i), put(fmt.Sprint("meanwhile-", i)))
			}
			for end := time.Now().Add(30 * time.Second); failures.Load() == 0 && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			tt.end(t, s)
			flushed(t, s)
			list, err := s.Devices(t.Context())
			kept := 0
			for _, d := range list {
				if d.ID != "unsure" {
					kept++
				}
			}
			if err != nil || kept != 20 || failures.Load() != 1 {
				t.Errorf("%d of 20 are there, %v; told %d times", kept, err, failures.Load())
			}
		})
	}
}
