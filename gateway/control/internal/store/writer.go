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
	turn   bool // it is that of those behind
	order  []string
	behind map[string]late
	again  time.Time // before which what could not be written is not tried again
	pause  time.Duration
	term   int64     // of the fence; 0: there is none
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
	if !ok && len(w.order) >= maxBehind {
		w.stats.Dropped++
		return
	}
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
		w.again = time.Time{}
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
			w.last(tx)
			return
		}
	}
}

// last gives a database that is away a moment to come back, and then says what is
// lost.
func (w *writer) last(tx *Tx) {
	for end := time.Now().Add(lastWords); ; time.Sleep(minPause) {
		w.mu.Lock()
		left, failed := len(w.order), w.failed
		w.again = time.Time{}
		w.mu.Unlock()
		switch {
		case left == 0:
			return
		case !time.Now().Before(end):
			failed(fmt.Errorf("store: %w: %d writes are lost", ErrLost, left))
			return
		}
		for w.step(tx) {
		}
	}
}

// step writes one transaction of what waits: what Do waits for first, but not twice in a
// row, or who asks without a pause would keep all else from being written.
func (w *writer) step(tx *Tx) bool {
	w.mu.Lock()
	var now []*task
	due := len(w.order) > 0 && !time.Now().Before(w.again)
	if !w.turn || !due {
		now, w.now = w.now, nil
	}
	w.turn = len(now) > 0
	var names []string
	var writes []late
	if len(now) == 0 && due {
		n := min(chunk, len(w.order))
		w.under = w.behind[w.order[0]].since
		names = append(names, w.order[:n]...)
		for _, key := range names {
			writes = append(writes, w.behind[key])
			delete(w.behind, key)
		}
		w.order = append(w.order[:0:0], w.order[n:]...)
	}
	term := w.term
	w.mu.Unlock()
	switch {
	case len(now) > 0:
		work := make([]func(*Tx) error, len(now))
		for i, t := range now {
			work[i] = t.f
		}
		results, lost := w.commit(tx, term, work)
		for i, t := range now {
			if lost != nil && results[i] == nil {
				results[i] = fmt.Errorf("store: write: %w", lost)
			}
			t.done <- results[i]
		}
	case len(writes) > 0:
		work := make([]func(*Tx) error, len(writes))
		for i, l := range writes {
			work[i] = l.f
		}
		results, lost := w.commit(tx, term, work)
		w.settle(names, writes, results, lost)
	default:
		return false
	}
	return true
}

// settle reports what failed by itself. What the database was away for is written
// once it is back, unless something newer took its place; what another's term fences
// off is dropped.
func (w *writer) settle(names []string, writes []late, results []error, lost error) {
	w.mu.Lock()
	w.under = time.Time{}
	if lost != nil && w.pause == 0 {
		results = append(results, lost) // once for an outage
	}
	switch {
	case lost == nil:
		w.pause = 0
	case errors.Is(lost, ErrFenced):
		w.order, w.behind = nil, make(map[string]late)
	default:
		w.putBack(names, writes)
		w.pause = min(max(2*w.pause, minPause), maxPause)
		w.again = time.Now().Add(w.pause)
		time.AfterFunc(w.pause, w.signal)
	}
	failed := w.failed
	w.mu.Unlock()
	for _, err := range results {
		if err != nil {
			failed(err)
		}
	}
}

func (w *writer) putBack(names []string, writes []late) {
	var back []string
	for i, key := range names {
		if l, newer := w.behind[key]; newer {
			l.since = writes[i].since
			w.behind[key] = l
			continue
		}
		back = append(back, key)
		w.behind[key] = writes[i]
	}
	w.order = append(back, w.order...)
}

const (
	// maxBehind bounds what waits for a database that is away: 10,000 devices, their
	// sessions and what is said about them.
	maxBehind = 1 << 17
	// Pauses between tries to write while the database is away.
	minPause = 100 * time.Millisecond
	maxPause = time.Second
	// How long Close waits for a database that is away.
	lastWords = 3 * time.Second
)

// commitTimeout bounds a transaction: against a database that another process
// holds, or a server that does not answer.
func (w *writer) commitTimeout() time.Duration {
	if w.dialect == Postgres {
		return 10 * time.Second
	}
	return 30 * time.Second
}

// commit runs work in one transaction, each in a savepoint of its own. Where that
// could be rolled back, its error is its own; lost is why nothing was written, as far
// as is known: the database is away, or another has the lead.
func (w *writer) commit(tx *Tx, term int64, work []func(*Tx) error) (results []error, lost error) {
	ctx, cancel := context.WithTimeout(context.Background(), w.commitTimeout())
	defer cancel()
	results = make([]error, len(work))
	began := time.Now()
	lost = w.transact(ctx, tx, term, work, results)
	w.measure(time.Since(began), lost != nil)
	if lost != nil {
		tx.drop()
		clear(results) // what failed in it did because of that
		if !errors.Is(lost, ErrFenced) {
			lost = fmt.Errorf("%w: %w", ErrLost, lost)
		}
	} else if w.shared {
		tx.free()
	}
	return results, lost
}

func (w *writer) transact(ctx context.Context, tx *Tx, term int64, work []func(*Tx) error, results []error) error {
	if err := tx.begin(ctx, w.db); err != nil {
		return err
	}
	if term != 0 {
		if err := tx.fenced(term); err != nil {
			return errors.Join(err, tx.end("ROLLBACK"))
		}
	}
	if len(work) == 1 {
		switch results[0] = work[0](tx); {
		case troubled(results[0]):
			return results[0]
		case results[0] != nil:
			return tx.end("ROLLBACK")
		}
		return tx.end("COMMIT")
	}
	for i, f := range work {
		if err := tx.exec("SAVEPOINT one"); err != nil {
			return err
		}
		undo := "RELEASE SAVEPOINT one"
		switch results[i] = f(tx); {
		case troubled(results[i]):
			return results[i]
		case results[i] != nil:
			undo = "ROLLBACK TO SAVEPOINT one"
		}
		if err := tx.exec(undo); err != nil {
			return errors.Join(results[i], err)
		}
	}
	return tx.end("COMMIT")
}
