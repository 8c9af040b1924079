package mqtt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gorilla/websocket"
)

// A wsConn is a WebSocket as a stream of bytes: MQTT packets do not keep to
// frames (MQTT 5.0, section 6).
type wsConn struct {
	ws *websocket.Conn
	r  io.Reader // the frame that is being read, or nil
}

var _ net.Conn = (*wsConn)(nil)

// upgrade speaks WebSocket over c. It owns c: a failure closes it.
func upgrade(ctx context.Context, c net.Conn, to *endpoint) (net.Conn, error) {
	h := &handshakeConn{Conn: c, left: maxHandshake}
	given := func(context.Context, string, string) (net.Conn, error) { return h, nil }
	d := websocket.Dialer{
		NetDialContext:    given,
		NetDialTLSContext: given,
		Subprotocols:      []string{"mqtt"},
		ReadBufferSize:    2 << 10,
		WriteBufferSize:   2 << 10,
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	ws, _, err := d.DialContext(ctx, to.url.String(), nil)
	h.left = -1
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("mqtt: WebSocket with %s: %w", to.address, err)
	}
	if ws.Subprotocol() != "mqtt" {
		ws.Close()
		return nil, fmt.Errorf("mqtt: WebSocket with %s: the server does not speak mqtt", to.address)
	}
	return &wsConn{ws: ws}, nil
}

func (c *wsConn) Read(p []byte) (int, error) {
	for {
		if c.r == nil {
			kind, r, err := c.ws.NextReader()
			if err != nil {
				var closed *websocket.CloseError
				if errors.As(err, &closed) {
					return 0, io.EOF
				}
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, errors.New("mqtt: broker sent a text frame")
			}
			c.r = r
		}
		n, err := c.r.Read(p)
		if err != io.EOF {
			return n, err
		}
		c.r = nil
		if n > 0 {
			return n, nil
		}
	}
}

func (c *wsConn) Write(p []byte) (int, error) {
	if err := c.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *wsConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *wsConn) SetReadDeadline(t time.Time) error  { return c.ws.SetReadDeadline(t) }
func (c *wsConn) SetWriteDeadline(t time.Time) error { return c.ws.SetWriteDeadline(t) }
func (c *wsConn) LocalAddr() net.Addr                { return c.ws.LocalAddr() }
func (c *wsConn) RemoteAddr() net.Addr               { return c.ws.RemoteAddr() }
func (c *wsConn) Close() error                       { return c.ws.Close() }

// maxHandshake bounds the answer to the upgrade, which the parser does not.
const maxHandshake = 64 << 10

// A handshakeConn ends after left bytes, unless left is negative.
type handshakeConn struct {
	net.Conn
	left int
}

func (c *handshakeConn) Read(p []byte) (int, error) {
	if c.left < 0 {
		return c.Conn.Read(p)
	}
	if c.left == 0 {
		return 0, errors.New("mqtt: answer to the upgrade is too long")
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
