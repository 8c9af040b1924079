// Package hostile holds the tests in which everything between control, node and
// device lies: a broker that reads, forges, replays, reorders, swaps, withholds
// and delivers late, and strangers who write where they should not.
package hostile
