// Package store keeps control's truth in SQL, in SQLite or PostgreSQL: rows in, rows
// out, no rules. It holds no signing key.
//
// All writes go through one goroutine. Do waits for its own transaction; Later
// only notes what is to be written and coalesces by key, so that a device which
// reports a hundred times in a moment costs one row.
package store
