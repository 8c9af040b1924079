// Package deadline is the read or write deadline of a connection of ours.
package deadline

import (
	"sync"
	"time"
)

// A Deadline is a time that can be moved while others wait for it. Its methods are
// safe for concurrent use.
type Deadline struct {
	mu     sync.Mutex
	timer  *time.Timer
	passed chan struct{} // closed when it has; replaced when a passed one is moved
}

// New returns a Deadline that never passes.
func New() *Deadline { return &Deadline{passed: make(chan struct{})} }

// Set moves the deadline; the zero time is none.
func (d *Deadline) Set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.passed // its func is running or has run
	}
	d.timer = nil
	select {
	case <-d.passed:
		d.passed = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	if wait := time.Until(t); wait > 0 {
		passed := d.passed
		d.timer = time.AfterFunc(wait, func() { close(passed) })
		return
	}
	close(d.passed)
}

// Wait returns a channel that is closed when the deadline has passed; one that is
// moved afterwards has another.
func (d *Deadline) Wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}
