package operator

import (
	"context"
	"iter"
	"net"
	"sync"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/signaling"
)

// A ladder collects the steps of a session for any number of readers. The zero
// value is ready.
type ladder struct {
	mu        sync.Mutex
	steps     []client.Step
	connected bool
	complete  bool // device ready, and an echo came back here
	over      bool
	err       error
	changed   chan struct{} // closed and replaced at each change
}

// see takes what control says of the session now.
func (l *ladder) see(s client.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	// Control's ladder only grows, but each reporter's steps may come late.
	for _, step := range s.Ladder {
		if !l.has(step) {
			l.steps = append(l.steps, step)
		}
	}
	l.connected = l.connected || connected(s)
	l.wake()
}

func (l *ladder) has(step client.Step) bool {
	for _, s := range l.steps {
		if s.Stage == step.Stage && s.By == step.By && s.Code == step.Code {
			return true
		}
	}
	return false
}

// ready says that the session can be used.
func (l *ladder) ready() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.complete = true
	l.wake()
}

// end is after the last step.
func (l *ladder) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over, l.err = true, err
	l.wake()
}

func (l *ladder) wake() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// after returns the steps from number n on and a channel that is closed at the
// next change.
func (l *ladder) after(n int) (steps []client.Step, complete, over bool, err error, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return append(steps, l.steps[n:]...), l.complete, l.over, l.err, l.changed
}

func (l *ladder) follow(ctx context.Context) iter.Seq2[client.Step, error] {
	return func(yield func(client.Step, error) bool) {
		for n := 0; ; {
			steps, complete, over, err, changed := l.after(n)
			n += len(steps)
			for _, s := range steps {
				if !yield(s, nil) {
					return
				}
			}
			switch {
			case complete:
				return
			case over:
				if err == nil {
					err = &Error{Code: string(signaling.Closed), Err: net.ErrClosed}
				}
				yield(client.Step{}, err)
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

// waitConnected waits until control holds the session for connected.
func (l *ladder) waitConnected(ctx context.Context) error {
	for {
		_, _, over, err, changed := l.after(0)
		l.mu.Lock()
		ok := l.connected
		l.mu.Unlock()
		switch {
		case ok:
			return nil
		case over:
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
