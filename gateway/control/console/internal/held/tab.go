package held

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// A Protocol is what a connect code is good for.
type Protocol string

// The protocols that a browser speaks by a WebSocket.
const (
	RDP Protocol = "rdp"
	SSH Protocol = "ssh"
)

// port is where a device answers it.
func (p Protocol) port() uint16 {
	return map[Protocol]uint16{RDP: 3389, SSH: 22}[p]
}

// Code makes a connect code for a login, good once within 30 s.
func (s *Session) Code(who Who, p Protocol) (string, error) {
	if p.port() == 0 {
		return "", client.Refuse(http.StatusUnprocessableEntity, keys.ReasonMalformed, "a code is for rdp or ssh")
	}
	if err := s.reaches(p.port()); err != nil {
		return "", err
	}
	if s.isOver() {
		return "", errOver
	}
	return s.of.codes.issue(bond{who, s.ID, p}), nil
}

// reaches refuses a port that the session was not opened for.
func (s *Session) reaches(port uint16) error {
	if !slices.Contains(s.Ports(), keys.TCP(port)) {
		return client.Refuse(http.StatusForbidden, "port_not_granted", "the session does not reach port "+strconv.Itoa(int(port)))
	}
	return nil
}

// A Tab is one stream, WebSocket or transfer of a login, that keeps its session held
// until Close.
type Tab struct {
	Session *Session
	who     Who
	ctx     context.Context
	cancel  context.CancelCauseFunc
	once    sync.Once
}

// Tab opens one. It is refused when the session is over or being left. ctx ends its
// Context, not the tab.
func (s *Session) Tab(ctx context.Context, who Who) (*Tab, error) {
	if who.User != s.user {
		return nil, errNotHeld
	}
	if who.ended() {
		return nil, who.end()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil || s.why != "" || !s.presence.open(who.Login) {
		return nil, errOver
	}
	ctx, cancel := context.WithCancelCause(ctx)
	t := &Tab{Session: s, who: who, ctx: ctx, cancel: cancel}
	s.tabs[t] = struct{}{}
	s.attend(who)
	s.rearmLocked()
	s.tell()
	return t, nil
}

// Context ends with the tab, its login and its session, and with the context of the
// tab's opening.
func (t *Tab) Context() context.Context { return t.ctx }

// Err is why Context has ended, nil while it has not. Of a login's or a session's end it
// is a *client.Error with its code.
func (t *Tab) Err() error {
	switch {
	case t.ctx.Err() == nil:
		return nil
	case t.who.ended():
		return t.who.end()
	}
	return context.Cause(t.ctx)
}

// Close is idempotent.
func (t *Tab) Close() {
	t.once.Do(func() {
		t.cancel(nil)
		s := t.Session
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.tabs, t)
		s.presence.close(t.who.Login, s.of.cfg.Now())
		s.rearmLocked()
		s.tell()
	})
}

// Dial waits until the device is reachable and connects to a granted port of it. The
// connection is closed with the tab. Refusals and ends are a *client.Error; that nobody
// answers at the port is not.
func (t *Tab) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })
	defer stop()
	c, err := t.Session.Dial(ctx, port)
	if err != nil {
		if ended := t.Err(); ended != nil {
			err = ended
		}
		return nil, err
	}
	return newConn(c, t.ctx), nil
}

// A conn ends with its tab.
type conn struct {
	net.Conn
	stop func() bool
}

func newConn(c net.Conn, tab context.Context) *conn {
	return &conn{c, context.AfterFunc(tab, func() { c.Close() })}
}

func (c *conn) Close() error {
	c.stop()
	return c.Conn.Close()
}
