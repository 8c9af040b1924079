package operator

import (
	"context"
	"iter"
	"net"
	"slices"
	"sync"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/signaling"
)

// A ladder collects the steps of a session for any number of readers. The zero
// value is ready.
type ladder struct {
	mu      sync.Mutex
	now     view
	changed chan struct{} // closed and replaced at each change
}

// A view is what a ladder knows at one moment.
type view struct {
	steps     []client.Step
	connected bool // control holds the session for connected
	complete  bool // connected, and an echo came back here
	over      bool
	err       error // why it is over, nil when as planned
}

// see takes what control says of the session now.
func (l *ladder) see(s client.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now.over {
		return
	}
	// Control's ladder only grows, but each reporter's steps may come late.
	for _, step := range s.Ladder {
		same := func(o client.Step) bool { return o.Stage == step.Stage && o.By == step.By && o.Code == step.Code }
		if !slices.ContainsFunc(l.now.steps, same) {
			l.now.steps = append(l.now.steps, step)
		}
	}
	l.now.connected = l.now.connected || connected(s)
	l.wake()
}

// ready says that the session can be used.
func (l *ladder) ready() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.complete = true
	l.wake()
}

// end is after the last step.
func (l *ladder) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.over, l.now.err = true, err
	l.wake()
}

func (l *ladder) wake() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// look returns what is known now, with the steps from number n on, and a channel
// that is closed at the next change.
func (l *ladder) look(n int) (view, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	v := l.now
	v.steps = slices.Clone(v.steps[n:])
	return v, l.changed
}

func (l *ladder) follow(ctx context.Context) iter.Seq2[client.Step, error] {
	return func(yield func(client.Step, error) bool) {
		for n := 0; ; {
			now, changed := l.look(n)
			n += len(now.steps)
			for _, s := range now.steps {
				if !yield(s, nil) {
					return
				}
			}
			switch {
			case now.complete:
				return
			case now.over:
				if now.err == nil {
					now.err = &Error{Code: string(signaling.Closed), Err: net.ErrClosed}
				}
				yield(client.Step{}, now.err)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				yield(client.Step{}, ctx.Err())
				return
			}
		}
	}
}

// waitConnected waits until control holds the session for connected, and reports
// whether it came to that.
func (l *ladder) waitConnected(ctx context.Context) bool {
	for {
		now, changed := l.look(0)
		if now.connected || now.over {
			return now.connected
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
