package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"sync"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver of Open
)

//go:embed migrations/*.sql
var migrations embed.FS

// Dialect is the SQL that a database speaks.
type Dialect string

// The dialects.
const (
	SQLite   Dialect = "sqlite3"
	Postgres Dialect = "postgres"
)

// Errors that callers tell apart.
var (
	ErrTaken  = errors.New("store: taken already")
	ErrAbsent = fmt.Errorf("store: %w", fs.ErrNotExist)
)

// Store is an open database. It is safe for concurrent use; Close ends its life.
type Store struct {
	read    *sql.DB
	dialect Dialect
	closers []func() error
	w       *writer
	once    sync.Once
	closed  error
}

// Open opens, and makes if there is none, the database that dsn names:
// "file:control.db" or ":memory:" for one that ends with the process.
// "postgres://..." is errors.ErrUnsupported in this release.
func Open(ctx context.Context, dsn string) (*Store, error) {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		return nil, fmt.Errorf("store: PostgreSQL: %w", errors.ErrUnsupported)
	}
	memory := dsn == ":memory:" || strings.Contains(dsn, "mode=memory")
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(10000)", "foreign_keys(1)", "temp_store(memory)",
		// NORMAL syncs at checkpoints only: a loss of power may take the last moments, a
		// killed process takes nothing.
		"synchronous(normal)",
	}}
	if !memory {
		q.Add("_pragma", "journal_mode(wal)")
	}
	name := dsn
	if memory {
		name = "file::memory:"
	} else if !strings.HasPrefix(name, "file:") {
		name = "file:" + name
	}
	sep := "?"
	if strings.Contains(name, "?") {
		sep = "&"
	}
	name += sep + q.Encode()
	write, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	write.SetMaxOpenConns(1)
	read := write
	if !memory {
		if read, err = sql.Open("sqlite", name); err != nil {
			write.Close()
			return nil, fmt.Errorf("store: open: %w", err)
		}
		read.SetMaxOpenConns(4)
	}
	s, err := New(ctx, write, read, SQLite)
	if err != nil {
		write.Close()
		read.Close()
		return nil, err
	}
	s.closers = append(s.closers, write.Close, read.Close)
	return s, nil
}

// New migrates the database behind write and serves it. read may be the same
// handle. Both stay the caller's to close, after Close.
func New(ctx context.Context, write, read *sql.DB, dialect Dialect) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("store: migrate: %w", err)
	}
	p, err := goose.NewProvider(goose.Dialect(dialect), write, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("store: migrate: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return nil, fmt.Errorf("store: migrate: %w", err)
	}
	s := &Store{read: read, dialect: dialect, w: newWriter(write, dialect, read == write)}
	go s.w.run()
	return s, nil
}

// Do runs f in a transaction and waits for it. When f or the commit fails nothing
// of it is written.
func (s *Store) Do(ctx context.Context, f func(tx *Tx) error) error { return s.w.do(ctx, f) }

// Later has f run in a transaction soon; a later call with the same key takes its
// place. What f fails with goes to Failed.
func (s *Store) Later(key string, f func(tx *Tx) error) { s.w.later(key, f) }

// Failed registers the function that hears of failures behind the caller's back.
func (s *Store) Failed(f func(error)) { s.w.onError(f) }

// Flush waits until all that Later noted before is written.
func (s *Store) Flush(ctx context.Context) error { return s.w.flush(ctx) }

// Close writes what is left and closes what Open opened. It is idempotent.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.w.close()
		var errs []error
		for _, f := range s.closers {
			errs = append(errs, f())
		}
		s.closed = errors.Join(errs...)
	})
	return s.closed
}

// rebind writes the placeholders of query as dialect wants them. The queries of
// this package have no question mark in a literal.
func rebind(dialect Dialect, query string) string {
	if dialect != Postgres {
		return query
	}
	var b strings.Builder
	n := 0
	for _, r := range query {
		if r != '?' {
			b.WriteRune(r)
			continue
		}
		n++
		fmt.Fprintf(&b, "$%d", n)
	}
	return b.String()
}

// all reads every row of a query.
func all[T any](ctx context.Context, s *Store, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := s.read.QueryContext(ctx, rebind(s.dialect, query), args...)
	if err != nil {
		return nil, fmt.Errorf("store: read: %w", err)
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("store: read: %w", err)
		}
		list = append(list, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: read: %w", err)
	}
	return list, nil
}

// one reads the only row of a query; ErrAbsent when there is none.
func one[T any](ctx context.Context, s *Store, scan func(row) (T, error), query string, args ...any) (T, error) {
	v, err := scan(s.read.QueryRowContext(ctx, rebind(s.dialect, query), args...))
	if errors.Is(err, sql.ErrNoRows) {
		return v, ErrAbsent
	}
	if err != nil {
		return v, fmt.Errorf("store: read: %w", err)
	}
	return v, nil
}

type row interface{ Scan(dest ...any) error }
