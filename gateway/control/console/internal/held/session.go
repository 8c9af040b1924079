package held

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// A Session is one user's end of a session. It is safe for concurrent use.
type Session struct {
	ID     string
	Device string
	Opened time.Time

	of   *Sessions
	user string
	api  *client.Client
	op   *operator.Session
	gone *time.Timer // after its end; Sessions.mu

	mu        sync.Mutex
	presence  presence
	grace     *time.Timer
	tabs      map[*Tab]struct{}
	logins    map[string]func() bool // that are followed to their end, and how not to
	reachable time.Duration          // since the opening; 0: not yet
	why       string                 // why it was left from here
	over      *Over
	changed   chan struct{} // closed and replaced at each change
}

// Over is how a session ended.
type Over struct {
	Code  string    `json:"code"`            // stable word: of control, node, device or this console
	Stage string    `json:"stage,omitempty"` // how far it had come
	Why   string    `json:"why,omitempty"`   // for people
	At    time.Time `json:"at"`
}

// Why a session was left from here.
const (
	whyLeft      = "left"       // its user closed it
	whyUnwatched = "unwatched"  // the last tab was closed for the grace time
	whySignedOut = "signed_out" // the login ended
	whyStopping  = "stopping"   // the console ends
)

func newSession(h *Sessions, r Request, op *operator.Session, began time.Time) *Session {
	s := &Session{
		ID: op.ID(), Device: r.Device, Opened: began, of: h, user: r.Who.User, api: r.API, op: op,
		presence: newPresence(r.Who.Login, h.cfg.Grace, h.cfg.Now()),
		tabs:     make(map[*Tab]struct{}), logins: make(map[string]func() bool), changed: make(chan struct{}),
	}
	s.attend(r.Who)
	return s
}

// attend follows a login to its end; mu is held, or nobody else has s yet.
func (s *Session) attend(who Who) {
	if _, ok := s.logins[who.Login]; ok || who.Until == nil {
		return
	}
	s.logins[who.Login] = context.AfterFunc(who.Until, func() { s.signedOut(who) })
}

// follow tells of each step until the session is over.
func (s *Session) follow() {
	for range s.op.Ladder(context.Background()) { // ends with the session
		s.mu.Lock()
		s.tell()
		s.mu.Unlock()
	}
	if s.op.Ready(context.Background()) == nil {
		s.mu.Lock()
		s.reachable = max(s.of.cfg.Now().Sub(s.Opened), 1)
		s.tell()
		s.mu.Unlock()
	}
	<-s.op.Done()
	s.end()
}

// end is after everything.
func (s *Session) end() {
	over := s.ending()
	s.mu.Lock()
	s.over = &over
	if s.grace != nil {
		s.grace.Stop()
	}
	for t := range s.tabs {
		t.cancel(over.err())
	}
	for _, stop := range s.logins {
		stop()
	}
	s.tell()
	s.mu.Unlock()
	s.of.retire(s)
}

// ending is how the session ended.
func (s *Session) ending() Over {
	now := s.op.Status().Session
	s.mu.Lock()
	defer s.mu.Unlock()
	over := Over{Code: s.why, Stage: now.Stage, At: s.of.cfg.Now().UTC()}
	if over.Code != "" {
		return over
	}
	err := s.op.Err()
	over.Code, over.Why = codeOf(err), now.Why
	if e, ok := errors.AsType[*operator.Error](err); ok && e.Stage != "" {
		over.Stage = string(e.Stage)
	}
	if over.Why == "" && err != nil && over.Code == unknown {
		over.Why = err.Error()
	}
	return over
}

// unknown is the code of an end that has none.
const unknown = "failed"

// codeOf is the stable word for an error.
func codeOf(err error) string {
	if err == nil {
		return keys.ReasonClosed
	}
	if e, ok := errors.AsType[*operator.Error](err); ok {
		return e.Code
	}
	return cmp.Or(client.CodeOf(err), unknown)
}

func (o Over) err() error { return client.Refuse(http.StatusConflict, o.Code, o.Why) }

// tell has those who watch look again; mu is held.
func (s *Session) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Session) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over != nil || s.why != ""
}

// covers refuses what the session was not opened for.
func (s *Session) covers(want []keys.Port) error {
	have := s.Ports()
	for _, p := range want {
		if !slices.Contains(have, p) {
			return client.Refuse(http.StatusConflict, "already_open", "you have a session with the device that does not reach "+p.String()+": close it first")
		}
	}
	return nil
}

// Ports are what the session's user may reach.
func (s *Session) Ports() []keys.Port {
	self := s.op.Status().Session.Operator
	for _, o := range s.op.Grant().Operators {
		if o.ID == self {
			return o.Ports
		}
	}
	return nil
}

// Extend lets the session last for lifetime from now.
func (s *Session) Extend(ctx context.Context, lifetime time.Duration) error {
	if s.isOver() {
		return errOver
	}
	_, err := s.api.ExtendSession(ctx, s.ID, lifetime)
	return err
}

// Leave leaves the session; who was its last operator closes it. It waits until nothing
// of it is left here, and returns control's error if it could not be told.
func (s *Session) Leave() error { return s.leave(whyLeft) }

func (s *Session) leave(why string) error {
	s.mu.Lock()
	if s.why == "" && s.over == nil {
		s.why = why
		for t := range s.tabs { // before what they hold breaks
			t.cancel(Over{Code: why}.err())
		}
	}
	s.mu.Unlock()
	return s.op.Close()
}

// background leaves without waiting for it; Sessions.Close does.
func (s *Session) background(why string) {
	s.of.work.Go(func() {
		if err := s.leave(why); err != nil {
			s.of.cfg.Logger.Warn("control was not told that a session was left", zap.String("session", s.ID), zap.Error(err))
		}
	})
}

// rearm sets the timer to the end of the grace.
func (s *Session) rearm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rearmLocked()
}

func (s *Session) rearmLocked() {
	if s.grace != nil {
		s.grace.Stop()
	}
	if s.over != nil || s.presence.left || s.presence.until.IsZero() {
		return
	}
	s.grace = time.AfterFunc(max(s.presence.until.Sub(s.of.cfg.Now()), 0), s.tick)
}

// tick is what the timer calls.
func (s *Session) tick() {
	s.mu.Lock()
	left := s.presence.tick(s.of.cfg.Now())
	if !left {
		s.rearmLocked()
	}
	s.mu.Unlock()
	if left {
		s.quit(whyUnwatched)
	}
}

// quit leaves in the background, unless Sessions.Close does already.
func (s *Session) quit(why string) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if !s.of.shut {
		s.background(why)
	}
}

// signedOut is the end of a login: of its tabs and codes, and of the session if it is
// nobody else's.
func (s *Session) signedOut(who Who) {
	s.of.codes.drop(func(b bond) bool { return b.who.Login == who.Login })
	s.mu.Lock()
	for t := range s.tabs {
		if t.who.Login == who.Login {
			t.cancel(who.end())
		}
	}
	left := s.presence.logout(who.Login)
	s.tell()
	s.mu.Unlock()
	if left {
		s.quit(who.end().Code)
	}
}

var errSignedOut = client.Refuse(http.StatusUnauthorized, whySignedOut, "the login has ended")
