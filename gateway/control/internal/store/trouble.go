package store

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// troubled reports whether a write failed for a reason of the database's own: it may
// take the same later. A server says so while its disk is full, while it is shut down,
// or while the name of a cluster leads to one that only reads.
func troubled(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && len(e.Code) == 5 {
		switch e.Code[:2] {
		case "08", "40", "53", "55", "57", "58": // connection, rollback, resources, state, operator, system
			return true
		}
		return e.Code == "25006" // a transaction that only reads
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN:
			return true
		}
	}
	return false
}
