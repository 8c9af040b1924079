package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/sshconn"
)

// Codes with which a socket closes, beside those of sshconn.
const (
	codeExit    = "exit"         // the shell has ended
	codeMessage = "bad_message"  // the page broke the protocol
	codeCode    = "code_refused" // the connect code is unknown, used or late
	codeTries   = "sign_in_tries"
	codeGone    = "page_gone"
	codeFault   = "internal"
)

var (
	errBroken = &sshconn.Error{Code: codeMessage}
	errGone   = &sshconn.Error{Code: codeGone}
	errExit   = &sshconn.Error{Code: codeExit}
)

// A socket is a page's end of the protocol.
type socket struct {
	ws      *websocket.Conn
	out     window
	in      *inbox
	signins chan *credential
	answers chan []sshconn.Secret
	sizes   chan size     // the latest
	closing chan struct{} // closed by bye
	work    sync.WaitGroup
}

func newSocket(ws *websocket.Conn) *socket {
	return &socket{
		ws: ws, in: newInbox(),
		signins: make(chan *credential, 1), answers: make(chan []sshconn.Secret, 1), sizes: make(chan size, 1), closing: make(chan struct{}),
	}
}

// hello reads the first message.
func (s *socket) hello(ctx context.Context) (hello, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	kind, text, err := s.ws.Read(ctx)
	if err != nil {
		return hello{}, errGone
	}
	h, err := parseHello(text)
	if err != nil || kind != websocket.MessageText {
		return hello{}, errBroken
	}
	return h, nil
}

// listen starts to read what the page sends and to ask whether it is there, and tells
// end why one of the two is over. Only bye ends them otherwise.
func (s *socket) listen(end func(error)) {
	s.work.Go(func() { end(s.read()) })
	s.work.Go(func() {
		if !s.alive() {
			end(errGone)
		}
	})
}

// read sorts the page's messages until it breaks the protocol or is gone. It waits for
// nobody but the page, so that an acknowledgement is always heard.
func (s *socket) read() error {
	for {
		kind, text, err := s.ws.Read(context.Background())
		if err != nil {
			return errGone
		}
		ok := false
		if kind == websocket.MessageBinary {
			ok = s.in.put(text)
		} else if o, err := parseOrder(text); err == nil {
			ok = s.take(o)
			clear(text) // it may have held a secret
		}
		if !ok {
			return errBroken
		}
	}
}

// take hands an order to who waits for it; false: nobody can be waiting.
func (s *socket) take(o order) bool {
	switch {
	case o.Ack != 0:
		return s.out.ack(o.Ack)
	case o.Resize != nil:
		select {
		case <-s.sizes: // an older one that nobody took yet
		default:
		}
		s.sizes <- *o.Resize
		return true
	case o.SignIn != nil:
		select {
		case s.signins <- o.SignIn:
			return true
		default:
			return false
		}
	}
	select {
	case s.answers <- o.Answers:
		return true
	default:
		return false
	}
}

// alive asks the page for an answer now and then; it returns false when none came, and
// true when nobody wants to know any more.
func (s *socket) alive() bool {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.closing:
			return true
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), pingEvery)
		err := s.ws.Ping(ctx)
		cancel()
		if err != nil {
			return false
		}
	}
}

// send writes one notice. It is safe for concurrent use, as write is.
func (s *socket) send(n notice) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return s.write(websocket.MessageText, text)
}

// write does not end with the life of the terminal: a message that is cut off would
// take the close frame, and its reason, with it.
func (s *socket) write(kind websocket.MessageType, data []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	if s.ws.Write(ctx, kind, data) != nil {
		return errGone
	}
	return nil
}

// credential asks the page for one, unless there is a connection, which another page may
// make while this one asks.
func (s *socket) credential(ctx context.Context, ask *asked, conns *sshconn.Conns, key string) (*sshconn.Credential, *sshconn.Conn, error) {
	for said := false; ; {
		more := conns.More()
		if conn := conns.Of(key); conn != nil {
			return nil, conn, nil
		}
		if !said {
			said = true
			if err := s.send(notice{SignIn: ask}); err != nil {
				return nil, nil, err
			}
		}
		select {
		case c := <-s.signins:
			return &sshconn.Credential{User: c.User, Password: c.Password, Key: c.Key, Passphrase: c.Passphrase}, nil, nil
		case <-more:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

var _ sshconn.Asker = (*socket)(nil)

// Ask implements sshconn.Asker.
func (s *socket) Ask(ctx context.Context, c sshconn.Challenge) ([]sshconn.Secret, error) {
	if err := s.send(notice{Prompt: &c}); err != nil {
		return nil, err
	}
	select {
	case answers := <-s.answers:
		return answers, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Banner implements sshconn.Asker.
func (s *socket) Banner(text string) { s.send(notice{Banner: text}) }

// bye says why the socket closes, closes it and waits for what listen started.
func (s *socket) bye(why error) {
	close(s.closing)
	is := reason(why)
	if is.Code != codeGone {
		s.send(notice{Over: &is})
	}
	s.ws.Close(status(is.Code), is.Code)
	s.ws.CloseNow()
	s.work.Wait()
}

// status is the code of the close frame.
func status(code string) websocket.StatusCode {
	switch code {
	case codeExit:
		return websocket.StatusNormalClosure
	case codeMessage, codeCode, codeTries:
		return websocket.StatusPolicyViolation
	}
	return websocket.StatusGoingAway
}

// reason is why a socket is over, as its page hears it.
func reason(why error) over {
	if e, ok := errors.AsType[*sshconn.Error](why); ok {
		is := over{Code: e.Code}
		if e.Err != nil {
			is.Detail = e.Err.Error()
		}
		return is
	}
	if e, ok := errors.AsType[*client.Error](why); ok { // the session's or the login's end
		return over{Code: e.Code, Detail: e.Detail}
	}
	if errors.Is(why, context.Canceled) {
		return over{Code: sshconn.CodeEnded}
	}
	return over{Code: codeFault}
}
