package desktop

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"github.com/boothwire/boothwire/gateway/control/client"
)

const (
	// maxMessage bounds a message of a browser, which is read in pieces.
	maxMessage = 16 << 20
	pingEvery  = 20 * time.Second
)

// accept answers a WebSocket of one of this console's pages, or refuses the request.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, protocol ...string) (*websocket.Conn, error) {
	if !s.cfg.SameOrigin(r) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(errForeign.Status)
		json.NewEncoder(w).Encode(errForeign)
		return nil, errForeign
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // SameOrigin asks for more: Origin has to be there
		Subprotocols:       protocol,
		CompressionMode:    websocket.CompressionDisabled, // what goes through is compressed or secret
	})
	if err != nil {
		return nil, err // the request is answered
	}
	ws.SetReadLimit(maxMessage)
	return ws, nil
}

// A stream is the bytes of a WebSocket's messages of one type.
type stream struct {
	ctx  context.Context
	ws   *websocket.Conn
	kind websocket.MessageType
	rest io.Reader // of the message that is being read
}

// Read implements io.Reader.
func (s *stream) Read(b []byte) (int, error) {
	for {
		if s.rest == nil {
			kind, r, err := s.ws.Reader(s.ctx)
			if err != nil {
				return 0, err
			}
			if kind != s.kind {
				return 0, errMalformed
			}
			s.rest = r
		}
		n, err := s.rest.Read(b)
		if err == io.EOF {
			s.rest, err = nil, nil
			if n == 0 {
				continue
			}
		}
		return n, err
	}
}

// Write sends one message, to a browser that takes it before long.
func (s *stream) Write(b []byte) (int, error) {
	ctx, cancel := context.WithTimeoutCause(s.ctx, stalled, errSlow)
	defer cancel()
	if err := s.ws.Write(ctx, s.kind, b); err != nil {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return 0, fromBrowser(err)
	}
	return len(b), nil
}

// watch pings until the browser does not answer or ctx ends.
func watch(ctx context.Context, ws *websocket.Conn) error {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		ping, cancel := context.WithTimeout(ctx, stalled)
		err := ws.Ping(ping)
		cancel()
		if err != nil {
			return errSlow
		}
	}
}

// hangUp tells the browser why, and ends the WebSocket.
func hangUp(ws *websocket.Conn, why *client.Error) {
	reason := why.Code
	if isNormal(why) {
		reason = "" // a library of Guacamole's takes any for an error
	}
	ws.Close(closeCode(why), reason)
	ws.CloseNow()
}

// A patient connection fails a write of which nothing was taken for too long.
type patient struct{ net.Conn }

func (p patient) Write(b []byte) (int, error) {
	p.SetWriteDeadline(time.Now().Add(stalled))
	n, err := p.Conn.Write(b)
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		err = errSlow
	}
	return n, err
}

// fromBrowser is what an error of reading the WebSocket means.
func fromBrowser(err error) error {
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd, websocket.StatusAbnormalClosure:
		return gone
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return gone
	}
	return err
}

// fromDevice is what an error of reading the device means.
func fromDevice(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return normal
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET):
		return normal // so servers end that are in a hurry
	}
	return err
}
