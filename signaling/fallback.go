package signaling

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

// Memory keeps a few bytes by name; a keys.Store is one.
type Memory interface {
	Load(name string) ([]byte, error)
	Save(name string, data []byte) error
}

// lineName is what the line that worked last is kept as: its place, from 0.
const lineName = "line"

// Fallback makes one Listener of several, best first: it uses the one that
// worked last (as m remembers; m may be nil), goes on to the next after 3
// failures or 20 s without a connection (75 s after one that was lost), from
// the last to the first, and every 6 to 12 hours tries each better one beside
// the one in use. One is in use at a time; statuses go to it. Its Listen
// returns an error other than ctx's only when every line failed for good.
func Fallback(m Memory, lines ...Listener) Listener {
	return &fallback{memory: m, lines: lines}
}

type fallback struct {
	memory Memory
	lines  []Listener

	mu  sync.Mutex
	use Listener // nil: none is up
}

// Publish hands a status to the line in use.
func (f *fallback) Publish(status []byte, retain bool) {
	f.mu.Lock()
	use := f.use
	f.mu.Unlock()
	if use != nil {
		use.Publish(status, retain)
	}
}

// lineEvent is what a line said.
type lineEvent struct {
	i     int
	run   *lineRun
	up    bool
	ended error // not nil: its Listen returned
}

// lineRun is one call of a line's Listen.
type lineRun struct {
	i      int
	sink   Sink
	events *mailbox[lineEvent]
	cancel context.CancelFunc
	done   chan struct{}
}

// Deliver goes straight through, from whichever line: Serve knows repeats.
func (r *lineRun) Deliver(m Message) { r.sink.Deliver(m) }

func (r *lineRun) Connected(up bool) { r.events.put(lineEvent{i: r.i, run: r, up: up}) }

// Listen runs the lines until ctx ends.
func (f *fallback) Listen(ctx context.Context, sink Sink) error {
	if len(f.lines) == 0 {
		return errors.New("signaling: no line to fall back to")
	}
	l := &lineSet{
		f: f, sink: sink, ctx: ctx, events: newMailbox[lineEvent](256),
		runs: make([]*lineRun, len(f.lines)), errs: make([]error, len(f.lines)),
		rungs: newRungs(len(f.lines), func() time.Duration { return probeLeast + rand.N(probeSpread) }),
		known: f.recall(),
	}
	defer l.stopAll()
	return l.run()
}

// recall returns the line that worked last, or the best.
func (f *fallback) recall() int {
	if f.memory == nil {
		return 0
	}
	b, err := f.memory.Load(lineName)
	if err != nil {
		return 0
	}
	i, err := strconv.Atoi(string(b))
	if err != nil || i < 0 || i >= len(f.lines) {
		return 0
	}
	return i
}

// lineSet is one call of a fallback's Listen.
type lineSet struct {
	f      *fallback
	sink   Sink
	ctx    context.Context
	events *mailbox[lineEvent]
	rungs  *rungs
	runs   []*lineRun // nil: not running
	errs   []error
	known  int // what the memory holds
	wg     sync.WaitGroup
}

func (l *lineSet) run() error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	l.do(l.rungs.begin(time.Now(), l.known))
	for {
		if l.rungs.hopeless() {
			return fmt.Errorf("signaling: every line failed: %w", errors.Join(l.errs...))
		}
		if at := l.rungs.next(); at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(at))
		}
		select {
		case <-l.ctx.Done():
			return l.ctx.Err()
		case <-l.events.ready:
			if e, ok := l.events.poll(); ok && l.runs[e.i] == e.run {
				l.take(e)
			}
		case <-timer.C:
			l.do(l.rungs.tick(time.Now()))
		}
	}
}

func (l *lineSet) take(e lineEvent) {
	if e.ended == nil {
		l.do(l.rungs.connected(time.Now(), e.i, e.up))
		return
	}
	l.errs[e.i] = e.ended
	l.runs[e.i] = nil
	l.do(l.rungs.ended(time.Now(), e.i))
}

func (l *lineSet) do(actions []any) {
	for _, a := range actions {
		switch a := a.(type) {
		case startLine:
			l.start(a.i)
		case stopLine:
			l.stop(a.i)
		case lineIs:
			l.f.mu.Lock()
			l.f.use = nil
			if a.up {
				l.f.use = l.f.lines[a.i]
			}
			l.f.mu.Unlock()
			l.sink.Connected(a.up)
		case remember:
			if l.f.memory != nil && a.i != l.known {
				// A line that is not remembered is found again.
				_ = l.f.memory.Save(lineName, []byte(strconv.Itoa(a.i)))
			}
			l.known = a.i
		}
	}
}

func (l *lineSet) start(i int) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(l.ctx))
	r := &lineRun{i: i, sink: l.sink, events: l.events, cancel: cancel, done: make(chan struct{})}
	l.runs[i] = r
	l.wg.Go(func() {
		defer close(r.done)
		err := l.f.lines[i].Listen(ctx, r)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("it ended by itself")
			}
			l.events.put(lineEvent{i: i, run: r, ended: err})
		}
	})
}

// stop ends a line and waits until it has sent what it had.
func (l *lineSet) stop(i int) {
	if r := l.runs[i]; r != nil {
		l.runs[i] = nil
		r.cancel()
		<-r.done
	}
}

func (l *lineSet) stopAll() {
	for _, r := range l.runs {
		if r != nil {
			r.cancel()
		}
	}
	l.wg.Wait()
	l.f.mu.Lock()
	l.f.use = nil
	l.f.mu.Unlock()
}
