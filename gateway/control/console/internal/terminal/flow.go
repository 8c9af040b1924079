package terminal

import (
	"context"
	"sync"
)

// A window counts the bytes of one direction that are on the way. It is safe for
// concurrent use; its zero value has nothing on the way.
type window struct {
	mu     sync.Mutex
	flight int
	freed  chan struct{} // made by who waits, closed by ack
}

// take waits until n more bytes, at most Window, may go.
func (w *window) take(ctx context.Context, n int) error {
	for {
		w.mu.Lock()
		if w.flight+n <= Window {
			w.flight += n
			w.mu.Unlock()
			return nil
		}
		if w.freed == nil {
			w.freed = make(chan struct{})
		}
		freed := w.freed
		w.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ack notes that n bytes have arrived; false: so many were not on the way.
func (w *window) ack(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > w.flight {
		return false
	}
	w.flight -= n
	if w.freed != nil {
		close(w.freed)
		w.freed = nil
	}
	return true
}

// An inbox holds keystrokes until the shell takes them, so that a shell that does not
// read keeps nothing else of the page's from being heard. It is safe for concurrent
// use.
type inbox struct {
	mu    sync.Mutex
	keys  []byte
	taken int           // handed out, not yet acknowledged
	more  chan struct{} // has room for one word
}

func newInbox() *inbox { return &inbox{more: make(chan struct{}, 1)} }

// put adds keystrokes; false: the page has sent more than it may.
func (in *inbox) put(keys []byte) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.keys)+in.taken+len(keys) > Window {
		return false
	}
	in.keys = append(in.keys, keys...)
	select {
	case in.more <- struct{}{}:
	default:
	}
	return true
}

// next waits for keystrokes; done gives their room back.
func (in *inbox) next(ctx context.Context) ([]byte, error) {
	for {
		in.mu.Lock()
		keys := in.keys
		in.keys, in.taken = nil, len(keys)
		in.mu.Unlock()
		if len(keys) > 0 {
			return keys, nil
		}
		select {
		case <-in.more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (in *inbox) done() {
	in.mu.Lock()
	in.taken = 0
	in.mu.Unlock()
}
