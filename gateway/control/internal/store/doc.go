// Package store keeps control's truth in SQL: rows in, rows out, no rules. SQLite
// is what Open opens; New takes any database/sql connection of a dialect that it
// knows. It holds no signing key.
//
// All writes go through one goroutine. Do waits for its own transaction; Later
// only notes what is to be written and coalesces by key, so that a device which
// reports a hundred times in a moment costs one row.
package store
