package wire

import (
	"errors"
	"io"
	"net"

	"github.com/gorilla/websocket"
)

// WebSocket is the stream of frames in a WebSocket's binary messages.
func WebSocket(ws *websocket.Conn) net.Conn { return &webSocket{Conn: ws.NetConn(), ws: ws} }

type webSocket struct {
	net.Conn
	ws *websocket.Conn
	r  io.Reader
}

func (w *webSocket) Read(p []byte) (int, error) {
	for {
		if w.r == nil {
			typ, r, err := w.ws.NextReader()
			if err != nil {
				return 0, err
			}
			if typ != websocket.BinaryMessage {
				return 0, errors.New("relay: a message that is not binary")
			}
			w.r = r
		}
		n, err := w.r.Read(p)
		if err == io.EOF {
			w.r, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (w *webSocket) Write(p []byte) (int, error) {
	if err := w.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *webSocket) NetConn() net.Conn { return w.Conn }
