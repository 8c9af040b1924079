package https

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	outboxDepth = 64
	// A status that the server would not take after postTries, over a minute or so, is
	// dropped for those behind it.
	postTries = 8
	// How long Listen goes on for what was published before its end.
	lastWords = 2 * time.Second
)

// outbox holds statuses until they are posted.
type outbox struct {
	mu      sync.Mutex
	waiting []*posting
	closed  bool
	changed chan struct{} // holds a token when there may be something to see
}

type posting struct {
	status []byte
	retain bool
}

func newOutbox() *outbox { return &outbox{changed: make(chan struct{}, 1)} }

// put appends a status. A retained one takes the place of the retained one before it, and
// goes to the end, for statuses are numbered by their device and must not swap.
func (o *outbox) put(status []byte, retain bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if retain {
		o.waiting = slices.DeleteFunc(o.waiting, func(p *posting) bool { return p.retain })
	}
	if len(o.waiting) == outboxDepth {
		// The retained document is what a reader needs most.
		i := 0
		if o.waiting[0].retain {
			i = 1
		}
		o.waiting = slices.Delete(o.waiting, i, i+1)
	}
	o.waiting = append(o.waiting, &posting{bytes.Clone(status), retain})
	o.note()
}

// note wants mu held.
func (o *outbox) note() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// close makes head fail once nothing waits, until open.
func (o *outbox) close() { o.set(true) }

func (o *outbox) open() { o.set(false) }

func (o *outbox) set(closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = closed
	o.note()
}

// head waits for the first status.
func (o *outbox) head(ctx context.Context) (*posting, error) {
	for {
		o.mu.Lock()
		if len(o.waiting) > 0 {
			p := o.waiting[0]
			o.mu.Unlock()
			return p, nil
		}
		closed := o.closed
		o.mu.Unlock()
		if closed {
			return nil, net.ErrClosed
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-o.changed:
		}
	}
}

// done removes p, unless a later retained one did.
func (o *outbox) done(p *posting) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = slices.DeleteFunc(o.waiting, func(w *posting) bool { return w == p })
}

// startPosting posts while the line is up. What it returns ends that: at once if the line
// failed, and if ctx ended it first leaves time for what waits.
func (l *Listener) startPosting(ctx context.Context) (stop func()) {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.post(inner)
	}()
	return func() {
		if ctx.Err() != nil {
			l.outbox.close()
			defer l.outbox.open()
			timer := time.AfterFunc(lastWords, cancel)
			defer timer.Stop()
			<-done
		}
		cancel()
		<-done
	}
}

// post sends what waits until ctx ends or the outbox is closed and empty.
func (l *Listener) post(ctx context.Context) {
	var last *posting
	tries := 0
	for {
		p, err := l.outbox.head(ctx)
		if err != nil {
			return
		}
		if p != last {
			last, tries = p, 0
		}
		err = l.caller.status(ctx, p.status, p.retain)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			l.outbox.done(p)
			continue
		}
		tries++
		l.cfg.Logger.Info("status not taken", zap.String("device", l.device), zap.Int("try", tries), zap.Error(err))
		code, answered := errors.AsType[statusError](err)
		if tries == postTries || answered && code/100 == 4 && code != 429 {
			l.outbox.done(p)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(jitter(min(time.Second<<tries, 30*time.Second))):
		}
	}
}
