package server

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/boothwire/boothwire/relay/internal/wire"
)

// upgrade answers with the nonce and takes the connection over.
func upgrade(w http.ResponseWriter, nonce string) (net.Conn, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(proveFor))
	_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+wire.Protocol+"\r\n"+wire.NonceHeader+": "+nonce+"\r\n\r\n")
	if err != nil {
		conn.Close()
		return nil, err
	}
	return rest(conn, rw.Reader)
}

// rest gives back what was read ahead.
func rest(conn net.Conn, r *bufio.Reader) (net.Conn, error) {
	n := r.Buffered()
	if n == 0 {
		return conn, nil
	}
	ahead := make([]byte, n)
	if _, err := io.ReadFull(r, ahead); err != nil {
		conn.Close()
		return nil, err
	}
	return &early{Conn: conn, ahead: ahead}, nil
}

// early is a connection of which a little was read ahead.
type early struct {
	net.Conn
	ahead []byte
}

func (e *early) Read(p []byte) (int, error) {
	if len(e.ahead) > 0 {
		n := copy(p, e.ahead)
		if e.ahead = e.ahead[n:]; len(e.ahead) == 0 {
			e.ahead = nil
		}
		return n, nil
	}
	return e.Conn.Read(p)
}

func (e *early) NetConn() net.Conn { return e.Conn }

// below is the connection that the listener accepted.
func below(c net.Conn) net.Conn {
	for {
		if _, ok := c.(*counted); ok {
			return c
		}
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = inner.NetConn()
	}
}

// upgradeWebSocket does the same for a client that something on the way let use
// nothing else.
func upgradeWebSocket(w http.ResponseWriter, r *http.Request, nonce string) (net.Conn, error) {
	u := websocket.Upgrader{
		HandshakeTimeout: proveFor, ReadBufferSize: 4 << 10, WriteBufferPool: nil,
		Subprotocols: []string{wire.Subprotocol},
		CheckOrigin:  func(r *http.Request) bool { return r.Header.Get("Origin") == "" }, // no browser has a leg
		Error:        func(w http.ResponseWriter, _ *http.Request, status int, _ error) { w.WriteHeader(status) },
	}
	ws, err := u.Upgrade(w, r, http.Header{wire.NonceHeader: {nonce}})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(1 << 20)
	return wire.WebSocket(ws), nil
}
