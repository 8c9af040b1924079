package signaling

import (
	"sync"
	"time"
)

// inbox is the Sink of Serve: whatever a transport's goroutine does to it
// takes a moment and no memory beyond its bound.
type inbox struct {
	ready chan struct{}

	mu      sync.Mutex
	list    []arrival
	dropped int
	line    bool
	news    bool // line was set
}

type arrival struct {
	at time.Time
	Message
}

const keepArrivals = 64

func newInbox() *inbox { return &inbox{ready: make(chan struct{}, 1)} }

// Deliver keeps a copy of msg; what is too long for a command only so far that
// it can be seen to be.
func (b *inbox) Deliver(msg Message) {
	msg.Payload = append([]byte(nil), msg.Payload[:min(len(msg.Payload), MaxCommand+1)]...)
	b.mu.Lock()
	if len(b.list) < keepArrivals {
		b.list = append(b.list, arrival{time.Now(), msg})
	} else {
		b.dropped++
	}
	b.mu.Unlock()
	b.signal()
}

func (b *inbox) Connected(up bool) {
	b.mu.Lock()
	b.line, b.news = up, true
	b.mu.Unlock()
	b.signal()
}

func (b *inbox) signal() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take returns one arrival and what else there is to know.
func (b *inbox) take() (a arrival, ok bool, dropped int, line, news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	dropped, line, news = b.dropped, b.line, b.news
	b.dropped, b.news = 0, false
	if len(b.list) > 0 {
		a, ok = b.list[0], true
		b.list[0] = arrival{}
		if b.list = b.list[1:]; len(b.list) > 0 {
			b.signal()
		} else {
			b.list = nil
		}
	}
	return a, ok, dropped, line, news
}
