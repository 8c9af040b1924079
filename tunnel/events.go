package tunnel

import (
	"context"
	"iter"
	"sync"
)

// history is how many events are kept for those who come later: a connect takes
// about six, a bad night at one repair a minute some hundreds.
const history = 256

// events is a bounded log that can be followed. The zero value is ready.
type events struct {
	mu    sync.Mutex
	first uint64 // number of list[0]
	list  []Event
	more  chan struct{} // closed at the next event
	over  bool
}

func (e *events) add(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return
	}
	if len(e.list) == history {
		e.list = append(e.list[:0], e.list[1:]...)
		e.first++
	}
	e.list = append(e.list, ev)
	e.wake()
}

// end is after the last event.
func (e *events) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	e.wake()
}

func (e *events) wake() {
	if e.more != nil {
		close(e.more)
		e.more = nil
	}
}

// after returns the events from number n on, the number behind them, and a
// channel that is closed when there are more, nil when there will be none.
func (e *events) after(n uint64) ([]Event, uint64, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n = max(n, e.first)
	next := e.first + uint64(len(e.list))
	list := append([]Event(nil), e.list[n-e.first:]...)
	if e.over {
		return list, next, nil
	}
	if e.more == nil {
		e.more = make(chan struct{})
	}
	return list, next, e.more
}

// Events yields what happened so far, at most the last 256, and then what
// happens, until the tunnel has closed or ctx ends. Each call is a reader of its
// own; a slow one loses the oldest events and holds nothing up.
func (t *Tunnel) Events(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		var n uint64
		for {
			list, next, more := t.events.after(n)
			n = next
			for _, ev := range list {
				if !yield(ev) {
					return
				}
			}
			if more == nil {
				return
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}
}
