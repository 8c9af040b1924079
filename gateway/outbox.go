package gateway

import "sync"

// outboxLength bounds the events that wait while control cannot be reached: an
// event each for installing, handshake, proof and close of 4,000 sessions. Beyond
// it the oldest go; what is in force is told anew at the next follow anyway.
const outboxLength = 16384

// outbox gathers events for control while the node is followed. Its zero value is
// ready.
type outbox struct {
	mu    sync.Mutex
	ready chan struct{} // of one; nil: nobody follows
	list  []Event
	lost  uint64
}

// open begins to gather, and reports false when somebody does already.
func (o *outbox) open() (<-chan struct{}, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ready != nil {
		return nil, false
	}
	o.ready = make(chan struct{}, 1)
	return o.ready, true
}

// close stops it and drops what was gathered.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ready, o.list = nil, nil
}

func (o *outbox) add(e Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ready == nil {
		return
	}
	if len(o.list) == outboxLength {
		o.list = append(o.list[:0], o.list[outboxLength/8:]...)
		o.lost += outboxLength / 8
	}
	o.list = append(o.list, e)
	o.signal()
}

// poke signals once more if anything waits: a report takes only so many.
func (o *outbox) poke() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) > 0 {
		o.signal()
	}
}

// waiting tells how many events wait, and how many found no room.
func (o *outbox) waiting() (now int, lost uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.list), o.lost
}

func (o *outbox) signal() {
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// take removes and returns up to most events, the oldest first.
func (o *outbox) take(most int) []Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(most, len(o.list))
	list := append([]Event(nil), o.list[:n]...)
	o.list = append(o.list[:0], o.list[n:]...)
	return list
}
