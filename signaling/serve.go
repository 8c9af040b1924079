package signaling

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// server runs a machine: one goroutine owns it and does what it wants done.
// Beside it run the Listener and at most one Handler.
type server struct {
	line    Listener
	d       Device
	h       Handler
	m       *machine
	in      *inbox
	observe func(Notice)
	changed <-chan struct{}
	ctx     context.Context

	calls   chan func(now time.Time)
	done    chan struct{} // nothing is called any more
	ended   chan result
	cur     *Session
	cancel  context.CancelCauseFunc
	answers map[string]chan answerAction
}

// result is what a Handler returned.
type result struct {
	n   int
	err error
}

// Serve serves a device's sessions until ctx ends: it takes commands from
// line, keeps their order, answers repeats and asks, publishes how the device
// is, and calls h once for each session, one at a time. A nil cfg means
// defaults. When ctx ends, the open session's context ends for the same cause,
// and once h has returned and the device was published as disconnected, Serve
// returns nil. It returns an error only when line failed for good.
func Serve(ctx context.Context, line Listener, d Device, h Handler, cfg *Config) error {
	if !validID(d.ID()) {
		return refuse(ReasonMalformed, "a device's id is 1 to 64 of A-Z a-z 0-9 . _ -")
	}
	c := cfg.withDefaults()
	s := &server{
		line: line, d: d, h: h, m: newMachine(d, c, time.Now()), in: newInbox(), observe: c.Observe, changed: c.Changed, ctx: ctx,
		calls: make(chan func(time.Time)), done: make(chan struct{}), ended: make(chan result, 1),
		answers: make(map[string]chan answerAction),
	}
	// The line outlives ctx: it has to carry the last status.
	lineCtx, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	gone := make(chan error, 1)
	go func() { gone <- line.Listen(lineCtx, s.in) }()

	err := s.loop(gone)
	close(s.done)
	if err != nil {
		return err
	}
	hangUp()
	<-gone
	return nil
}

// loop returns when ctx ended, or the line for good, and no Handler runs.
func (s *server) loop(gone <-chan error) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var failed error
	stop := s.ctx.Done()
	for {
		s.act()
		if s.m.stopping && s.m.cur == nil {
			s.m.farewell(time.Now())
			s.act()
			return failed
		}
		if at := s.m.next(); at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(at))
		}
		select {
		case <-stop:
			stop = nil
			s.m.stop(time.Now(), context.Cause(s.ctx))
		case err := <-gone:
			gone = nil
			failed = lineError(err)
			s.m.line(time.Now(), false)
			s.m.stop(time.Now(), failed)
		case <-s.in.ready:
			s.receive()
		case f := <-s.calls:
			f(time.Now())
		case r := <-s.ended:
			s.cur = nil
			s.m.returned(time.Now(), r.n, r.err)
		case _, ok := <-s.changed:
			if !ok {
				s.changed = nil
				continue
			}
			s.m.changed(time.Now())
		case <-timer.C:
			s.m.tick(time.Now())
		}
	}
}

func lineError(err error) error {
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return fmt.Errorf("signaling: the line failed: %w", err)
}

// receive takes one message from the line, and news about it.
func (s *server) receive() {
	a, ok, dropped, line, news := s.in.take()
	now := time.Now()
	if news {
		s.m.line(now, line)
	}
	if ok && a.Device == s.d.ID() {
		s.m.deliver(now, a.at, a.Message)
	}
	s.m.refuseMany(now, dropped)
}

// call runs f on the goroutine that owns the machine, and reports whether it
// did.
func (s *server) call(f func(now time.Time)) bool {
	select {
	case s.calls <- f:
		return true
	case <-s.done:
		return false
	}
}

// act does what the machine wants done.
func (s *server) act() {
	for _, a := range s.m.take() {
		switch a := a.(type) {
		case startAction:
			s.start(a)
		case stopAction:
			s.cancel(a.cause)
		case grantAction:
			s.cur.grants.put(a.token)
		case offerAction:
			s.cur.offers.put(a.sealed)
		case answerAction:
			if ch := s.answers[a.nonce]; ch != nil {
				delete(s.answers, a.nonce)
				ch <- a
			}
		case endAction:
			s.d.End(a.session)
		case rotateAction:
			s.d.Rotate()
		case sendAction:
			if b := s.encode(a); b != nil {
				s.line.Publish(b, a.retain)
			}
		case noticeAction:
			s.observe(a.Notice)
		}
	}
}

// start calls the Handler.
func (s *server) start(a startAction) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	sess := &Session{
		ID: a.id, Server: a.server, Grant: a.grant, n: a.n, ctx: ctx, srv: s,
		grants: newMailbox[[]byte](keepGrants), offers: newMailbox[[]byte](keepOffers),
	}
	s.cur, s.cancel = sess, cancel
	go func() {
		err := refuse(ReasonInternal, "the handler ended its goroutine")
		defer func() {
			if p := recover(); p != nil {
				err = refuse(ReasonInternal, "the handler panicked: %v", p)
			}
			cancel(&Error{Reason: ReasonClosed})
			s.ended <- result{a.n, err}
		}()
		err = s.h(ctx, sess)
	}()
}
