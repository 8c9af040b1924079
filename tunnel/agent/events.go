package agent

import (
	"context"
	"iter"
	"sync"
)

// backlog bounds what a lagging reader of events holds back.
const backlog = 256

// A feed hands its last event and all later ones to any number of readers.
type feed struct {
	mu      sync.Mutex
	last    Event
	readers map[*reader]bool
}

type reader struct {
	queue []Event // under feed.mu
	wake  chan struct{}
}

func (f *feed) publish(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = e
	for r := range f.readers {
		if len(r.queue) == backlog {
			r.queue = r.queue[1:]
		}
		r.queue = append(r.queue, e)
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

func (f *feed) follow(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		f.mu.Lock()
		r := &reader{queue: []Event{f.last}, wake: make(chan struct{}, 1)}
		if f.readers == nil {
			f.readers = make(map[*reader]bool)
		}
		f.readers[r] = true
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			delete(f.readers, r)
			f.mu.Unlock()
		}()
		for {
			f.mu.Lock()
			batch := r.queue
			r.queue = nil
			f.mu.Unlock()
			for _, e := range batch {
				if !yield(e) {
					return
				}
			}
			if len(batch) > 0 {
				continue
			}
			select {
			case <-r.wake:
			case <-ctx.Done():
				return
			}
		}
	}
}
