// Package journal is a file that keeps the latest value of each key over a kill of
// the process. It knows nothing of what the values say.
package journal
