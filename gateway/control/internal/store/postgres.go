package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// IsPostgres reports whether dsn names a PostgreSQL database.
func IsPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// Settings of every connection, unless the URL has them.
const (
	connectTimeout = 5 * time.Second
	// A process that stands still in a transaction must not keep the others from the
	// lead: the server ends it.
	idleInTransaction = "10000" // ms
)

func settings(dsn string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err) // pgx leaves the password out
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{
		"application_name": "boothwire-control", "idle_in_transaction_session_timeout": idleInTransaction,
	} {
		if _, set := cfg.RuntimeParams[name]; !set {
			cfg.RuntimeParams[name] = value
		}
	}
	return cfg, nil
}

func openPostgres(ctx context.Context, dsn string) (*Store, error) {
	cfg, err := settings(dsn)
	if err != nil {
		return nil, err
	}
	write, read := stdlib.OpenDB(*cfg), stdlib.OpenDB(*cfg)
	write.SetMaxOpenConns(2) // the migrations hold a lock beside their own
	read.SetMaxOpenConns(8)
	read.SetConnMaxIdleTime(time.Minute)
	s, err := New(ctx, write, read, Postgres)
	if err != nil {
		write.Close()
		read.Close()
		return nil, err
	}
	s.dsn = dsn
	s.closers = append(s.closers, write.Close, read.Close)
	return s, nil
}

// leadChannel is where a process that leaves the lead says so. Nothing else is said
// there, and nothing hangs on its being heard.
const leadChannel = "boothwire_lead"

// Hints calls f when the lead may be free, until ctx ends or the connection breaks:
// LISTEN needs one of its own, and a pooler in transaction mode gives none. With
// SQLite it waits for ctx.
func (s *Store) Hints(ctx context.Context, f func()) error {
	if s.dialect != Postgres {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	cfg, err := settings(s.dsn)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("store: listen: %w", err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(end)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+leadChannel); err != nil {
		return fmt.Errorf("store: listen: %w", err)
	}
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return fmt.Errorf("store: listen: %w", err)
		}
		f()
	}
}
