package https

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// How long an answer may take to be written to a parked connection.
const writeTimeout = 15 * time.Second

// takenLine is a connection that was taken out of net/http for the time that its poll is
// parked. net/http would keep two goroutines, their stacks grown by TLS and signatures,
// two or three buffers and the request for it; this keeps the connection alone. That the
// peer went away is noticed when the answer is written, at the end of its wait at the
// latest; what was written to a dead peer is not acknowledged and so comes again.
type takenLine struct {
	conn   net.Conn
	server *http.Server
	reuse  bool
}

// takeOver takes the request's connection, or returns nil where that cannot be: HTTP/2,
// HTTP/1.0, a client that wants the connection closed, a wrapper without Hijack.
func takeOver(w http.ResponseWriter, r *http.Request) (line, *http.Server) {
	srv, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	if !ok || r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.Close {
		return nil, nil
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil
	}
	// Bytes of a next request, sent before this one's answer, would be lost to the server.
	return &takenLine{conn, srv, buf.Reader.Buffered() == 0}, srv
}

func (l *takenLine) respond(code int, h http.Header, body []byte) {
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 " + strconv.Itoa(code) + " " + http.StatusText(code) + "\r\n")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if !l.reuse {
		h.Set("Connection", "close")
	}
	h.Write(&b)
	b.WriteString("\r\n")
	b.Write(body)
	l.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := l.conn.Write(b.Bytes()); err != nil || !l.reuse {
		l.conn.Close()
		return
	}
	l.conn.SetWriteDeadline(time.Time{})
	// The server takes the connection back as a new one; it closes what it does not
	// accept any more.
	one := &oneConn{conn: l.conn}
	l.server.Serve(one)
	if !one.taken.Load() {
		l.conn.Close()
	}
}

func (l *takenLine) drop() {
	// A TLS close waits up to 5 s for its alert to go out.
	go l.conn.Close()
}

// oneConn is a listener that accepts one connection, which exists already.
type oneConn struct {
	conn  net.Conn
	taken atomic.Bool
}

func (o *oneConn) Accept() (net.Conn, error) {
	if o.taken.Swap(true) {
		return nil, net.ErrClosed
	}
	return o.conn, nil
}

func (o *oneConn) Close() error   { return nil }
func (o *oneConn) Addr() net.Addr { return o.conn.LocalAddr() }
