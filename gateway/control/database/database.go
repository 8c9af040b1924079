// Package database moves what a control knows from SQLite to PostgreSQL, for a
// deployment that is to have several control processes.
package database

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/boothwire/boothwire/gateway/control/internal/store"
)

// Errors that Move may wrap.
var (
	ErrInUse    = store.ErrInUse    // a control process has one of the databases open
	ErrNotEmpty = store.ErrNotEmpty // the target holds something
)

// Progress is how much of a table is copied; the last of a table has Done = Rows.
type Progress struct {
	Table      string
	Done, Rows int64
}

// Move copies all of the SQLite database in file, which no control may use meanwhile,
// into the empty PostgreSQL database that target names ("postgres://user@host/name").
// It copies all or, with an error, nothing; the file is left as it is, but for its
// schema, which is brought up to date. told, unless nil, hears of the progress, and the
// counts of rows on both sides are compared before anything is kept.
func Move(ctx context.Context, file, target string, told func(Progress)) (err error) {
	if !store.IsPostgres(target) {
		return errors.New("database: the target is no postgres:// URL")
	}
	path, _, _ := strings.Cut(strings.TrimPrefix(file, "file:"), "?")
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	from, err := store.Open(ctx, file)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := store.Open(ctx, target)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	return store.Copy(ctx, from, to, func(table string, done, total int64) {
		if told != nil {
			told(Progress{table, done, total})
		}
	})
}
