package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Tx is a transaction under way. Its methods are the writes.
type Tx struct {
	dialect    Dialect
	ctx        context.Context
	conn       *sql.Conn
	statements map[string]*sql.Stmt // of conn, kept over transactions
}

func (t *Tx) begin(ctx context.Context, db *sql.DB) (err error) {
	t.ctx = ctx
	kept := t.conn != nil
	if err = t.tryBegin(db); err != nil && kept && t.dialect == Postgres {
		// The server was started anew meanwhile.
		t.drop()
		err = t.tryBegin(db)
	}
	return err
}

func (t *Tx) tryBegin(db *sql.DB) (err error) {
	if t.conn == nil {
		if t.conn, err = db.Conn(t.ctx); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	}
	begin := "BEGIN"
	if t.dialect == SQLite {
		begin = "BEGIN IMMEDIATE"
	}
	return t.end(begin)
}

func (t *Tx) end(word string) error {
	_, err := t.conn.ExecContext(t.ctx, word)
	return err
}

// free gives the connection back.
func (t *Tx) free() {
	for q, s := range t.statements {
		s.Close()
		delete(t.statements, q)
	}
	if t.conn != nil {
		t.conn.Close()
		t.conn = nil
	}
}

// drop ends a connection of which nobody knows how it is. SQLite's has nobody at its
// other end, and an in-memory database would end with it.
func (t *Tx) drop() {
	if t.conn != nil && t.dialect == Postgres {
		_ = t.conn.Raw(func(any) error { return driver.ErrBadConn })
	} else if t.conn != nil {
		// A transaction that is over already cannot be rolled back, which is as well.
		_, _ = t.conn.ExecContext(context.Background(), "ROLLBACK")
	}
	t.free()
}

func (t *Tx) prepared(query string) (*sql.Stmt, error) {
	if s := t.statements[query]; s != nil {
		return s, nil
	}
	s, err := t.conn.PrepareContext(t.ctx, rebind(t.dialect, query))
	if err == nil {
		t.statements[query] = s
	}
	return s, err
}

func (t *Tx) exec(query string, args ...any) error {
	_, err := t.change(query, args...)
	return err
}

// change is exec that tells how many rows it changed.
func (t *Tx) change(query string, args ...any) (int64, error) {
	s, err := t.prepared(query)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	r, err := s.ExecContext(t.ctx, storable(args)...)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	return r.RowsAffected()
}

func (t *Tx) query(scan func(row) error, query string, args ...any) error {
	s, err := t.prepared(query)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	rows, err := s.QueryContext(t.ctx, storable(args)...)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	return rows.Err()
}

// storable makes of every text one that both databases take, for PostgreSQL has no
// zero bytes, and UTF-8 only. What a device, a node or a user says would otherwise keep
// all rows that it stands in, those of the audit among them, from being written.
func storable(args []any) []any {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
		}
	}
	return args
}

// micros is a time as it is stored; 0 is never.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// text is a list as it is stored.
func text[T any](list []T) string {
	if len(list) == 0 {
		return "[]"
	}
	b, err := json.Marshal(list)
	if err != nil {
		return "[]"
	}
	return string(b)
}

func fromText[T any](s string) (list []T, err error) {
	err = json.Unmarshal([]byte(s), &list)
	if len(list) == 0 {
		list = nil
	}
	return list, err
}
