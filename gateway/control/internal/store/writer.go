package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// chunk bounds how many of Later's writes share a transaction, so that a waiting Do
// comes in between: about 10 ms of SQLite.
const chunk = 256

// writer is the one goroutine that writes.
type writer struct {
	db      *sql.DB
	dialect Dialect
	shared  bool          // readers need the connection too: it is not kept
	wake    chan struct{} // of one
	stop    chan struct{}
	done    chan struct{}

	mu     sync.Mutex
	shut   bool
	now    []*task
	order  []string
	behind map[string]late
	under  time.Time // since when the oldest of those being written waited; zero: none are
	failed func(error)
	stats  Stats
}

// late is one of Later's writes.
type late struct {
	f     func(*Tx) error
	since time.Time
}

type task struct {
	f    func(*Tx) error
	done chan error
}

func newWriter(db *sql.DB, dialect Dialect, shared bool) *writer {
	return &writer{
		db: db, dialect: dialect, shared: shared, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		behind: make(map[string]late), failed: func(error) {}, stats: newStats(),
	}
}

func (w *writer) onError(f func(error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = f
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *writer) do(ctx context.Context, f func(*Tx) error) error {
	t := &task{f: f, done: make(chan error, 1)}
	w.mu.Lock()
	if w.shut {
		w.mu.Unlock()
		return fmt.Errorf("store: %w", net.ErrClosed)
	}
	w.now = append(w.now, t)
	w.mu.Unlock()
	w.signal()
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
	}
	// One that has not begun is withdrawn; one that has decides by itself.
	w.mu.Lock()
	for i, o := range w.now {
		if o == t {
			w.now = append(w.now[:i:i], w.now[i+1:]...)
			w.mu.Unlock()
			return ctx.Err()
		}
	}
	w.mu.Unlock()
	return <-t.done
}

func (w *writer) later(key string, f func(*Tx) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut {
		return
	}
	l, ok := w.behind[key]
	if !ok {
		w.order = append(w.order, key)
		l.since = time.Now()
	}
	l.f = f
	w.behind[key] = l
	w.signal()
}

func (w *writer) flush(ctx context.Context) error {
	for {
		w.mu.Lock()
		left := len(w.order)
		w.mu.Unlock()
		// An empty transaction comes after the one under way.
		if err := w.do(ctx, func(*Tx) error { return nil }); err != nil || left == 0 {
			return err
		}
	}
}

func (w *writer) close() {
	w.mu.Lock()
	first := !w.shut
	w.shut = true
	w.mu.Unlock()
	if first {
		close(w.stop)
	}
	<-w.done
}

func (w *writer) run() {
	defer close(w.done)
	tx := &Tx{dialect: w.dialect, statements: make(map[string]*sql.Stmt)}
	defer tx.free()
	for {
		stopping := false
		select {
		case <-w.wake:
		case <-w.stop:
			stopping = true
		}
		for w.step(tx) {
		}
		if stopping {
			return
		}
	}
}

// step writes one transaction of what waits, what Do waits for first.
func (w *writer) step(tx *Tx) bool {
	w.mu.Lock()
	now := w.now
	w.now = nil
	var behind []func(*Tx) error
	if len(now) == 0 {
		n := min(chunk, len(w.order))
		if n > 0 {
			w.under = w.behind[w.order[0]].since
		}
		for _, key := range w.order[:n] {
			behind = append(behind, w.behind[key].f)
			delete(w.behind, key)
		}
		w.order = append(w.order[:0:0], w.order[n:]...)
	}
	failed := w.failed
	w.mu.Unlock()
	switch {
	case len(now) > 0:
		w.commit(tx, now)
	case len(behind) > 0:
		tasks := make([]*task, len(behind))
		for i, f := range behind {
			tasks[i] = &task{f: f, done: make(chan error, 1)}
		}
		w.commit(tx, tasks)
		for _, t := range tasks {
			if err := <-t.done; err != nil {
				failed(err)
			}
		}
		w.mu.Lock()
		w.under = time.Time{}
		w.mu.Unlock()
	default:
		return false
	}
	return true
}

// commitTimeout bounds a transaction against a database that another process
// holds.
const commitTimeout = 30 * time.Second

// commit runs tasks in one transaction, each in a savepoint of its own.
func (w *writer) commit(tx *Tx, tasks []*task) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	results := make([]error, len(tasks))
	began := time.Now()
	err := func() error {
		if err := tx.begin(ctx, w.db); err != nil {
			return err
		}
		for i, t := range tasks {
			if len(tasks) == 1 {
				if results[i] = t.f(tx); results[i] != nil {
					return errors.Join(results[i], tx.end("ROLLBACK"))
				}
				break
			}
			if err := tx.exec("SAVEPOINT one"); err != nil {
				return errors.Join(err, tx.end("ROLLBACK"))
			}
			undo := "RELEASE SAVEPOINT one"
			if results[i] = t.f(tx); results[i] != nil {
				undo = "ROLLBACK TO SAVEPOINT one"
			}
			if err := tx.exec(undo); err != nil {
				return errors.Join(err, tx.end("ROLLBACK"))
			}
		}
		if err := tx.end("COMMIT"); err != nil {
			return errors.Join(err, tx.end("ROLLBACK"))
		}
		return nil
	}()
	w.measure(time.Since(began), err != nil && !(len(tasks) == 1 && results[0] != nil))
	if err != nil || w.shared {
		tx.free()
	}
	for i, t := range tasks {
		if results[i] == nil && err != nil {
			results[i] = fmt.Errorf("store: write: %w", err)
		}
		t.done <- results[i]
	}
}
