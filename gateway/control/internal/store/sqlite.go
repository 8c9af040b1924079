package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	_ "modernc.org/sqlite" // the driver
)

// plain makes a path part of a URI, in which a # would end it.
var plain = strings.NewReplacer("%", "%25", "#", "%23")

func openSQLite(ctx context.Context, dsn string) (*Store, error) {
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
		name = "file:" + plain.Replace(name)
	}
	sep := "?"
	if strings.Contains(name, "?") {
		sep = "&"
	}
	free := func() error { return nil }
	if !memory {
		var err error
		if free, err = claimFile(ctx, name); err != nil {
			return nil, err
		}
	}
	s, err := openFile(ctx, name+sep+q.Encode(), memory)
	if err != nil {
		return nil, errors.Join(err, free())
	}
	s.closers = append(s.closers, free) // at the very end
	return s, nil
}

func openFile(ctx context.Context, name string, memory bool) (*Store, error) {
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

// claimFile makes sure that one process has the database: what it decides from
// memory would be wrong for two. The claim is a lock that the system takes back when
// the process ends, on a file of its own beside the database, which other programs
// may read.
func claimFile(ctx context.Context, name string) (free func() error, err error) {
	path := name // as SQLite reads it
	if i := strings.IndexAny(name, "?#"); i >= 0 {
		path = name[:i]
	}
	db, err := sql.Open("sqlite", path+"-lock?_pragma=busy_timeout(1000)&_pragma=journal_mode(memory)")
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	conn, err := db.Conn(ctx)
	if err == nil {
		_, err = conn.ExecContext(ctx, "BEGIN EXCLUSIVE")
	}
	if err == nil {
		return func() error { conn.Close(); return db.Close() }, nil
	}
	db.Close()
	if strings.Contains(err.Error(), "SQLITE_BUSY") || strings.Contains(err.Error(), "locked") {
		return nil, fmt.Errorf("%w: %s", ErrInUse, strings.TrimPrefix(path, "file:"))
	}
	return nil, fmt.Errorf("store: open: %w", err)
}
