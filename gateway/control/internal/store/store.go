package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
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
	ErrLost   = errors.New("store: the database cannot be reached")
	ErrInUse  = errors.New("store: another process has the database open")
)

// Store is an open database. It is safe for concurrent use; Close ends its life.
type Store struct {
	read    *sql.DB
	dialect Dialect
	dsn     string // of PostgreSQL
	closers []func() error
	w       *writer
	once    sync.Once
	closed  error
}

// Open opens, and makes if there is none, the database that dsn names: a path,
// "control.db", or a URI, "file:control.db", ":memory:" for one that ends with the
// process, or a PostgreSQL database, "postgres://user@host/name". ErrInUse: another process has the file.
func Open(ctx context.Context, dsn string) (*Store, error) {
	if IsPostgres(dsn) {
		return openPostgres(ctx, dsn)
	}
	return openSQLite(ctx, dsn)
}

// New migrates the database behind write and serves it. read may be the same
// handle. Both stay the caller's to close, after Close.
func New(ctx context.Context, write, read *sql.DB, dialect Dialect) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("store: migrate: %w", err)
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if dialect == Postgres {
		// Of several that start at once one migrates.
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return nil, fmt.Errorf("store: migrate: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(goose.Dialect(dialect), write, files, options...)
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
// of it is written, but for ErrLost: then nobody knows.
func (s *Store) Do(ctx context.Context, f func(tx *Tx) error) error { return s.w.do(ctx, f) }

// Later has f run in a transaction soon, and again while the database is away; a
// later call with the same key takes its place. What f fails with goes to Failed.
func (s *Store) Later(key string, f func(tx *Tx) error) { s.w.later(key, f) }

// Failed registers the function that hears of failures behind the caller's back: of
// an outage once.
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

// readTimeout bounds a query: a server that does not answer is away.
const readTimeout = 10 * time.Second

// all reads every row of a query.
func all[T any](ctx context.Context, s *Store, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	rows, err := s.read.QueryContext(ctx, rebind(s.dialect, query), storable(args)...)
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
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	v, err := scan(s.read.QueryRowContext(ctx, rebind(s.dialect, query), storable(args)...))
	if errors.Is(err, sql.ErrNoRows) {
		return v, ErrAbsent
	}
	if err != nil {
		return v, fmt.Errorf("store: read: %w", err)
	}
	return v, nil
}

type row interface{ Scan(dest ...any) error }
