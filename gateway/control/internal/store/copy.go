package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// tables are all that hold what control knows. Who has the lead is not copied.
var tables = []string{
	"meta", "devices", "boots", "prekeys", "nodes", "addresses", "sessions", "operators", "grants", "steps", "commands", "audit", "tokens", "logins",
}

// ErrNotEmpty means that a database to copy to holds something already.
var ErrNotEmpty = errors.New("store: the database is not empty")

// progressEvery is how many rows are copied between two words of progress.
const progressEvery = 1000

// Copy copies all that from holds into to, which has to be an empty PostgreSQL
// database that no process uses: all of it, or, with an error, nothing. Meanwhile no
// process can take the lead there. progress, unless nil, is told how many rows of a
// table are copied, the last time all of them.
func Copy(ctx context.Context, from, to *Store, progress func(table string, done, total int64)) error {
	if to.dialect != Postgres {
		return fmt.Errorf("store: copy: only to PostgreSQL: %w", errors.ErrUnsupported)
	}
	conn, err := to.w.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("store: copy: %w", err)
	}
	defer conn.Close()
	err = conn.Raw(func(driver any) error {
		c := driver.(*stdlib.Conn).Conn()
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if err := vacant(ctx, tx, to.clock()); err != nil {
				return err
			}
			for _, table := range tables {
				if err := copyTable(ctx, from.read, tx, table, progress); err != nil {
					return fmt.Errorf("table %s: %w", table, err)
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("store: copy: %w", err)
	}
	return nil
}

// vacant makes sure that a database is empty and stays unused until tx is over.
func vacant(ctx context.Context, tx pgx.Tx, clock string) error {
	// A claim of the lead updates its row, and waits for this.
	if _, err := tx.Exec(ctx, `LOCK TABLE lead IN EXCLUSIVE MODE`); err != nil {
		return err
	}
	var led bool
	if err := tx.QueryRow(ctx, `SELECT expires > `+clock+` FROM lead WHERE one=1`).Scan(&led); err != nil {
		return err
	}
	if led {
		return ErrInUse
	}
	for _, table := range tables {
		var any bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM `+table+`)`).Scan(&any); err != nil {
			return err
		}
		if any {
			return fmt.Errorf("%w: table %s has rows", ErrNotEmpty, table)
		}
	}
	return nil
}

func copyTable(ctx context.Context, from *sql.DB, tx pgx.Tx, table string, progress func(string, int64, int64)) error {
	var total int64
	if err := from.QueryRowContext(ctx, `SELECT count(*) FROM `+table).Scan(&total); err != nil {
		return err
	}
	rows, err := from.QueryContext(ctx, `SELECT * FROM `+table)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	source := &copied{rows: rows, values: make([]any, len(columns)), targets: make([]any, len(columns)), told: func(done int64) {
		if progress != nil && done < total {
			progress(table, done, total)
		}
	}}
	for i := range source.values {
		source.targets[i] = &source.values[i]
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{table}, columns, source); err != nil {
		return err
	}
	var there int64
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM `+table).Scan(&there); err != nil {
		return err
	}
	if there != total || source.done != total {
		return fmt.Errorf("%d rows were read and %d are there, of %d", source.done, there, total)
	}
	if progress != nil {
		progress(table, total, total)
	}
	return nil
}

// copied are the rows of a table, as pgx takes them.
type copied struct {
	rows            *sql.Rows
	values, targets []any
	done            int64
	told            func(done int64)
}

// Next implements pgx.CopyFromSource.
func (c *copied) Next() bool { return c.rows.Next() }

// Values implements pgx.CopyFromSource.
func (c *copied) Values() ([]any, error) {
	if err := c.rows.Scan(c.targets...); err != nil {
		return nil, err
	}
	for i, v := range c.values {
		if s, ok := v.(string); ok && strings.ContainsRune(s, 0) {
			return nil, fmt.Errorf("row %d has a text with a zero byte, which PostgreSQL does not take", c.done+1)
		}
		if b, ok := v.([]byte); ok {
			c.values[i] = append([]byte(nil), b...)
		}
	}
	if c.done++; c.done%progressEvery == 0 {
		c.told(c.done)
	}
	return c.values, nil
}

// Err implements pgx.CopyFromSource.
func (c *copied) Err() error { return c.rows.Err() }
