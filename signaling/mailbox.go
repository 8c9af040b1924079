package signaling

import (
	"context"
	"sync"
)

// mailbox is a bounded queue; when it is full the oldest goes.
type mailbox[T any] struct {
	most  int
	ready chan struct{} // has a token while there is something to take

	mu      sync.Mutex
	list    []T
	dropped uint64
}

func newMailbox[T any](most int) *mailbox[T] {
	return &mailbox[T]{most: most, ready: make(chan struct{}, 1)}
}

func (b *mailbox[T]) put(v T) {
	b.mu.Lock()
	if len(b.list) == b.most {
		var zero T
		b.list[0] = zero
		b.list = b.list[1:]
		b.dropped++
	}
	b.list = append(b.list, v)
	b.mu.Unlock()
	b.signal()
}

func (b *mailbox[T]) signal() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// poll takes the oldest without waiting.
func (b *mailbox[T]) poll() (v T, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.list) == 0 {
		return v, false
	}
	v = b.list[0]
	var zero T
	b.list[0] = zero
	b.list = b.list[1:]
	if len(b.list) > 0 {
		b.signal()
	}
	return v, true
}

// take waits for the oldest, until ctx or until ends.
func (b *mailbox[T]) take(ctx, until context.Context) (T, error) {
	for {
		if v, ok := b.poll(); ok {
			return v, nil
		}
		var zero T
		select {
		case <-b.ready:
		case <-ctx.Done():
			return zero, context.Cause(ctx)
		case <-until.Done():
			return zero, context.Cause(until)
		}
	}
}

func (b *mailbox[T]) drops() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}
