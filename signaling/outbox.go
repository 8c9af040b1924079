package signaling

import (
	"context"
	"sync"
	"time"
)

// outbox holds what a ride has to publish; when it is full the oldest goes.
type outbox struct {
	most   int
	retain bool
	tries  int // of one message; 0: until it is replaced

	list    [][]byte
	first   uint64 // number of list[0]
	dropped uint64
}

func (o *outbox) put(b []byte) {
	if len(o.list) == o.most {
		o.drop(o.first)
		o.dropped++
	}
	o.list = append(o.list, b)
}

// drop removes the message with that number, if it still is the first.
func (o *outbox) drop(n uint64) {
	if len(o.list) > 0 && o.first == n {
		o.list[0] = nil
		o.list = o.list[1:]
		o.first++
	}
}

// post sends what outboxes hold through a host's publish function, each of
// them in its own order on its own goroutine, while the line is up.
type post struct {
	topic   string
	publish PublishFunc

	mu       sync.Mutex
	up       bool
	draining bool
	news     chan struct{} // closed at every change
}

const (
	publishFor = 30 * time.Second // one call of the host's function
	retryFirst = time.Second
	retryMost  = 30 * time.Second
	flushFor   = time.Second // what is left when Listen's ctx ends
)

// change runs f with the lock held and wakes everyone.
func (p *post) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.news)
	p.news = make(chan struct{})
}

// next waits for the first message of o. It returns false when ctx ended, or
// when nothing is left to be sent while draining.
func (p *post) next(ctx context.Context, o *outbox) (b []byte, n uint64, ok bool) {
	for {
		p.mu.Lock()
		news, draining := p.news, p.draining
		if p.up && len(o.list) > 0 {
			b, n, ok = o.list[0], o.first, true
		}
		p.mu.Unlock()
		if ctx.Err() != nil {
			return nil, 0, false
		}
		if ok || draining {
			return b, n, ok
		}
		select {
		case <-news:
		case <-ctx.Done():
		}
	}
}

func (p *post) ending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.draining
}

// run sends what o holds until ctx ends, or until it is empty while draining.
func (p *post) run(ctx context.Context, o *outbox) {
	tries, last := 0, uint64(0)
	for {
		b, n, ok := p.next(ctx, o)
		if !ok {
			return
		}
		if n != last {
			tries, last = 0, n
		}
		call, cancel := context.WithTimeout(ctx, publishFor)
		err := p.publish(call, p.topic, b, o.retain)
		cancel()
		if err == nil {
			p.change(func() { o.drop(n) })
			continue
		}
		if p.ending() {
			return
		}
		tries++
		if o.tries > 0 && tries >= o.tries {
			p.change(func() { o.drop(n); o.dropped++ })
			continue
		}
		p.pause(ctx, min(retryFirst<<min(tries-1, 10), retryMost))
	}
}

// pause waits before another try. A line that goes meanwhile ends the pause,
// since next then waits for the line itself.
func (p *post) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		p.mu.Lock()
		news, over := p.news, p.draining || !p.up
		p.mu.Unlock()
		if over {
			return
		}
		select {
		case <-news:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
