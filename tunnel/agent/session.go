package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/internal/find"
)

// A session is one call of the signalling handler: from the wake to the down.
type session struct {
	a      *Agent
	line   *signaling.Session
	log    *zap.Logger
	cancel context.CancelCauseFunc
	gone   chan struct{}

	// Of the session's own goroutine.
	began time.Time
	limit *time.Timer // of the first proof
	shown Session
	why   error // a planned end that the session came to by itself

	tunnel *tunnel.Tunnel // set once, under Agent.mu
	cfg    *tunnel.Config // what the tunnel was told last, under Agent.mu
	relay  atomic.Pointer[relay.Conn]
	opened atomic.Bool // the host was told of it
	find   *find.Finder
}

// serve is the signaling.Handler.
//
//	accept -> host agrees -> tunnel up -> proved -> ready -> ... -> closed
//	   \-> refused: nothing happened    (60 s at most)
//
// ctx ends with the session's down; then, or on the first error, everything is
// taken down before serve returns.
func (a *Agent) serve(ctx context.Context, line *signaling.Session) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &session{a: a, line: line, cancel: cancel, gone: make(chan struct{}), began: time.Now(), log: a.log.With(zap.String("session", line.ID)), find: find.New(a.network)}
	var grant *keys.Grant
	var key keys.PrivateKey
	if line.Grant != nil {
		// What is refused at the door changes nothing here; signalling tells of it.
		var err error
		if grant, key, err = a.device.Accept(line.Grant); err != nil {
			return err
		}
	}
	a.begin(s)
	err := s.serve(ctx, grant, key)
	if cause := context.Cause(ctx); errors.Is(cause, ErrHangup) {
		line.Report(&signaling.Status{Code: ErrHangup.Code(), Why: ErrHangup.Error()})
		s.why, err = cause, nil
	}
	a.finish(s, err)
	return err
}

// serve serves a session with its grant, or asks for one first.
func (s *session) serve(ctx context.Context, grant *keys.Grant, key keys.PrivateKey) error {
	if grant == nil {
		token, err := s.line.Request(ctx)
		if err != nil {
			return err
		}
		if grant, key, err = s.a.device.Accept(token); err != nil {
			return err
		}
	}
	s.a.checks.watch.opening(grant)
	s.log = s.a.log.With(zap.String("session", grant.Session), zap.String("node", grant.Far.Node))
	s.limit = time.AfterFunc(s.a.cfg.Prove, func() { s.cancel(ErrNoProof) })
	defer s.limit.Stop()
	s.show(grant)
	s.reach(signaling.Keyed)
	if ask := s.a.cfg.MayOpen; ask != nil {
		if err := ask(ctx, s.shown); err != nil {
			return s.late(ctx, &RefusedError{Err: err})
		}
	}
	cfg := s.config(grant, key)
	if s.a.cfg.Socket != nil {
		var err error
		if cfg.Socket, err = s.a.cfg.Socket(); err != nil {
			return fmt.Errorf("agent: open a socket: %w", err)
		}
	}
	t, err := tunnel.Up(ctx, cfg)
	if err != nil {
		return s.late(ctx, err)
	}
	s.a.mu.Lock()
	s.tunnel, s.cfg = t, cfg
	s.a.mu.Unlock()
	defer s.find.Wait()
	defer t.Close()
	defer s.count(t) // what is said of the end brings the last figures
	return s.run(ctx, t)
}

// late is why the session ends, where it ended while err came about: the time for a
// proof ran out, or a down came.
func (s *session) late(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrNoProof) || cause != nil && errors.Is(err, context.Canceled) {
		return cause
	}
	return err
}

// config is what a grant brings up on this host.
func (s *session) config(grant *keys.Grant, key keys.PrivateKey) *tunnel.Config {
	c := tunnel.ForDevice(grant, key)
	c.Mode = s.a.cfg.Mode
	c.Services = s.a.cfg.Services
	c.Logger = s.log
	s.paths(c, grant, key)
	return c
}

// run follows the tunnel and the later grants until one of them ends.
func (s *session) run(ctx context.Context, t *tunnel.Tunnel) error {
	ctx, stop := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer stop(nil)
	work.Go(func() { s.follow(ctx, t) })
	work.Go(func() { s.countOn(ctx, t) })
	defer func() {
		if s.opened.Load() && s.a.cfg.Closed != nil {
			why := context.Cause(ctx)
			if err := t.Err(); err != nil {
				why = err
			}
			t.Close() // the host hears of the end once it is one
			s.a.cfg.Closed(s.shownNow(), why)
		}
	}()
	for e := range t.Events(ctx) {
		switch e.Kind {
		case tunnel.EventSocket, tunnel.EventHandshake:
			s.reach(signaling.Stage(e.Kind))
		case tunnel.EventProved:
			s.limit.Stop()
			if !s.opened.Load() {
				s.reach(signaling.Proved)
			}
			s.report(t)
		case tunnel.EventReady:
			if !s.opened.Load() {
				s.a.sessions.Add(1)
				if s.a.cfg.Opened != nil {
					s.a.cfg.Opened(s.shownNow())
				}
				s.opened.Store(true)
				s.reach(signaling.Ready)
			}
			s.report(t)
		case tunnel.EventPath, tunnel.EventWhy, tunnel.EventUnproved:
			s.report(t)
		case tunnel.EventClock:
			work.Go(func() { s.rekey(ctx, t) })
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if code := planned(t.Err()); code != "" {
		s.line.Report(&signaling.Status{Code: code, Why: t.Err().Error()})
		s.why = t.Err()
		return nil
	}
	return t.Err()
}

// refuse says that a later grant was not taken; the session goes on as it was.
func (s *session) refuse(t *tunnel.Tunnel, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	s.log.Warn("grant refused", zap.String("code", code(err)), zap.Error(err))
	st := status(t)
	st.Code, st.Why = code(err), err.Error()
	s.line.Report(st)
}

// update brings a later grant into the running tunnel.
func (s *session) update(ctx context.Context, t *tunnel.Tunnel, token []byte) error {
	grant, key, err := s.a.device.Accept(token)
	if err != nil {
		return err
	}
	cfg := s.config(grant, key)
	if err := s.bring(ctx, t, cfg); err != nil {
		return fmt.Errorf("agent: bring revision %d into the tunnel: %w", grant.Rev, err)
	}
	s.a.mu.Lock()
	s.cfg = cfg
	s.a.mu.Unlock()
	s.show(grant)
	s.log.Info("grant updated", zap.Int("rev", grant.Rev), zap.Strings("operators", s.shownNow().Operators))
	s.report(t)
	if s.opened.Load() && t.Status().State == tunnel.Connected {
		s.line.Reach(signaling.Ready) // said again: the later grant is in force
	}
	return nil
}

// rekey asks for a grant with a fresh key: the wall clock was set, and WireGuard
// refuses a handshake whose time went back.
func (s *session) rekey(ctx context.Context, t *tunnel.Tunnel) {
	token, err := s.line.Request(ctx)
	if err == nil {
		err = s.update(ctx, t, token)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("no fresh key after a clock change", zap.Error(err))
	}
}

// report tells control what the tunnel is now. Until its events came to that, which the
// host hears of first, it is not said to be connected.
func (s *session) report(t *tunnel.Tunnel) {
	st := status(t)
	if st.VPN == signaling.Connected && !s.opened.Load() {
		st.VPN = signaling.Connecting
	}
	switch st.VPN {
	case signaling.Connecting, signaling.Connected, signaling.Degraded:
		s.line.Report(st)
		s.a.change(s, st.VPN, signaling.Step{}, nil)
	}
}

// status is a tunnel's state and figures in signalling's words.
func status(t *tunnel.Tunnel) *signaling.Status {
	now := t.Status()
	st := &signaling.Status{
		VPN:    signaling.State(now.State),
		Path:   string(now.Path),
		Why:    now.Why,
		RTT:    now.RTT,
		Rx:     now.Rx,
		Tx:     now.Tx,
		Direct: now.Spent.Direct,
		Relay:  now.Spent.Relay,
	}
	if len(now.Addresses) > 0 {
		st.IP = now.Addresses[0]
	}
	return st
}

// reach tells control and the host that a stage is reached.
func (s *session) reach(stage signaling.Stage) {
	s.line.Reach(stage)
	s.log.Info("stage", zap.String("stage", string(stage)), zap.Duration("after", time.Since(s.began)))
	state := signaling.Connecting
	if stage == signaling.Ready {
		state = signaling.Connected
	}
	s.a.change(s, state, signaling.Step{Stage: stage, After: time.Since(s.began)}, nil)
}

// show remembers what the host is told of the session.
func (s *session) show(g *keys.Grant) {
	shown := Session{ID: g.Session, Lifetime: g.Lifetime}
	seen := make(map[keys.Port]bool)
	for _, o := range g.Operators {
		shown.Operators = append(shown.Operators, o.ID)
		for _, p := range o.Ports {
			if !seen[p] {
				seen[p] = true
				shown.Ports = append(shown.Ports, p)
			}
		}
	}
	s.a.mu.Lock()
	s.shown = shown
	s.a.now.Session = shown
	s.a.mu.Unlock()
}

func (s *session) shownNow() Session {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	return s.shown
}

func (a *Agent) begin(s *session) {
	a.mu.Lock()
	a.open = s
	a.now.Session = Session{ID: s.line.ID}
	a.now.Ladder = nil
	a.mu.Unlock()
	a.change(s, signaling.Connecting, signaling.Step{Stage: signaling.Received}, nil)
}

// change notes the session's state and tells those who follow.
func (a *Agent) change(s *session, state signaling.State, step signaling.Step, err error) {
	a.mu.Lock()
	id := a.now.Session.ID
	if id == "" {
		id = s.line.ID
	}
	same := a.now.State == state && step.Stage == "" && err == nil
	a.now.State = state
	if step.Stage != "" {
		a.now.Ladder = append(a.now.Ladder, step)
	}
	a.mu.Unlock()
	if !same {
		a.events.publish(Event{At: time.Now(), State: state, Session: id, Step: step, Err: err})
	}
}

func (a *Agent) finish(s *session, err error) {
	state := signaling.Disconnected
	var down *signaling.Error
	if err != nil && !errors.As(err, &down) {
		state = signaling.Failed
		a.failed.Add(1)
	}
	if err == nil {
		err = s.why
	}
	s.log.Info("session closed", zap.String("state", string(state)), zap.String("code", code(err)), zap.NamedError("why", err))
	a.change(s, state, signaling.Step{Stage: signaling.Closed, After: time.Since(s.began), Code: code(err)}, err)
	a.mu.Lock()
	if s.tunnel != nil {
		a.past.add(s.tunnel.Status())
	}
	a.open = nil
	a.now.Session = Session{}
	a.mu.Unlock()
	signal(a.checks.ended)
	close(s.gone)
}
