package terminal

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/console/internal/sshconn"
	"github.com/boothwire/boothwire/internal/quota"
)

// A Handler serves terminals. Its exported fields do not change once it serves.
type Handler struct {
	Conns *sshconn.Conns
	// Redeem returns the tab that a connect code is for. A code works once, for the
	// login and the session of the request.
	Redeem func(r *http.Request, code string) (Tab, error)
	// Hearing is how long the end of a tab may take to be heard of: what it holds breaks
	// before. Default 1 s.
	Hearing time.Duration
	Logger  *zap.Logger // nil: silent

	open quota.Each // sockets, by their target's key
}

// maxSockets bounds those of one session and login, with those that ask for credentials.
const maxSockets = 16

// A Tab is one page's part in a held session.
type Tab interface {
	sshconn.Target
	// Context ends with the tab, its login and its session.
	Context() context.Context
	Err() error // why Context has ended; nil while it has not
	Close()
}

// Times of a socket.
const (
	helloTimeout = 10 * time.Second
	hearing      = time.Second
	pingEvery    = 20 * time.Second
	sendTimeout  = 30 * time.Second // for one message to a page that does not read
)

// ServeHTTP implements http.Handler. It ends with the request's context, which is the
// login's.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Origin") == "" { // Accept refuses a foreign one only
		http.Error(w, "this is for pages of the console", http.StatusForbidden)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // Accept has answered
	}
	defer ws.CloseNow()
	ws.SetReadLimit(max(maxText, maxBinary))
	s := newSocket(ws)
	why := h.serve(r, s)
	if h.Logger != nil {
		h.Logger.Info("terminal closed", zap.String("code", reason(why).Code))
	}
	s.bye(why)
}

// serve is one socket from its first message on. It returns why it is over.
func (h *Handler) serve(r *http.Request, s *socket) error {
	first, err := s.hello(r.Context())
	if err != nil {
		return err
	}
	tab, err := h.Redeem(r, first.Code)
	if err != nil {
		return &sshconn.Error{Code: codeCode}
	}
	defer tab.Close()
	if !h.open.Enter(tab.Key(), maxSockets) {
		return &sshconn.Error{Code: sshconn.CodeMany}
	}
	defer h.open.Leave(tab.Key())
	ctx, end := context.WithCancelCause(tab.Context())
	defer end(nil)
	s.listen(end)
	err = h.connected(ctx, s, tab, first)
	if code := reason(err).Code; code == sshconn.CodeEnded || code == sshconn.CodeLost { // the tab, if it ends too, knows why
		select {
		case <-tab.Context().Done():
		case <-time.After(cmp.Or(h.Hearing, hearing)):
		}
	}
	switch ended := tab.Err(); {
	case ended != nil:
		return ended // says more than what it broke
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// connected signs in and is a terminal, or the companion of a files page.
func (h *Handler) connected(ctx context.Context, s *socket, target sshconn.Target, first hello) error {
	conn, err := h.signIn(ctx, s, target)
	if err != nil {
		return err
	}
	is := &ready{User: conn.User, HostKey: conn.HostKey, HostKeyBy: conn.HostKeyBy, Windows: conn.Windows}
	if !first.Files {
		return s.shell(ctx, conn, first.size, is)
	}
	if err := s.send(notice{Ready: is}); err != nil {
		return err
	}
	select {
	case <-conn.Done():
		return conn.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// maxTries is how many credentials one socket may try; the next one needs a new code.
const maxTries = 5

// signIn returns the target's connection; where there is none it asks the page for
// credentials until the device takes one.
func (h *Handler) signIn(ctx context.Context, s *socket, target sshconn.Target) (*sshconn.Conn, error) {
	ask := new(asked)
	for range maxTries {
		cred, conn, err := s.credential(ctx, ask, h.Conns, target.Key())
		if err != nil || conn != nil {
			return conn, err
		}
		conn, err = h.Conns.SignIn(ctx, target, cred, s)
		if err == nil {
			return conn, nil
		}
		e, ok := errors.AsType[*sshconn.Error](err)
		if !ok || !again(e.Code) {
			return nil, err
		}
		ask = &asked{Code: e.Code}
		if e.Err != nil {
			ask.Detail = e.Err.Error()
		}
	}
	return nil, &sshconn.Error{Code: codeTries}
}

// again reports whether another credential may help.
func again(code string) bool {
	switch code {
	case sshconn.CodeDenied, sshconn.CodeUser, sshconn.CodeKey, sshconn.CodePassphrase:
		return true
	}
	return false
}
