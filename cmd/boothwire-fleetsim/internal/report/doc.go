// Package report holds what a run has found: figures in JSON, and a page that shows
// them.
package report
