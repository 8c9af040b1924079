package https

import (
	"crypto/tls"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// bodyPatience is how long a body may be on its way of which no handler says how long.
const bodyPatience = time.Minute

// Server is an http.Server with limits for devices: HTTP/1.1 only (a parked HTTP/2
// connection costs several times as much), TLS 1.2 or later, short headers, a minute for a
// body unless a handler gives it more as it reads, and no deadline on a response. The
// caller sets address, certificate and logs, and serves.
func Server(h http.Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:   timely(h, bodyPatience),
		Protocols: &protocols,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		// Also what a device may take between a parked poll's answer and its next request.
		ReadHeaderTimeout: 15 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    8 << 10,
	}
}

// timely bounds how long a body may be on its way. Without a deadline whoever sends none
// of it keeps his connection for ever, also where he is refused: what a handler has not
// read, the server reads.
func timely(h http.Handler, patience time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			h.ServeHTTP(w, r)
			return
		}
		b := &timelyBody{ReadCloser: r.Body, rc: http.NewResponseController(w)}
		_ = b.rc.SetReadDeadline(time.Now().Add(patience))
		defer func() {
			if !b.ended.Load() { // and the handler may have lifted its deadline
				_ = b.rc.SetReadDeadline(time.Now().Add(patience))
			}
		}()
		r = r.WithContext(r.Context()) // the server keeps its own
		r.Body = b
		h.ServeHTTP(w, r)
	})
}

// timelyBody lifts the deadline when all of it is there: one that passes later would
// cancel the request.
type timelyBody struct {
	io.ReadCloser
	rc    *http.ResponseController
	ended atomic.Bool
}

func (b *timelyBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && !b.ended.Swap(true) {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}
