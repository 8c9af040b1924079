package control

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// localIdentity and localUser are the keys under which requests from inside this
// process carry who they are from. Nothing outside can set them.
type (
	localIdentity struct{}
	localUser     struct{}
)

// localURL is what requests inside this process name as their host.
const localURL = "http://control.local"

// As returns the way to the API inside this process for what calls as u, whatever the
// requests say of themselves. u's role and groups are those of the call: who takes them
// from a user ends the streams that this way has open.
func (c *Control) As(u User) http.RoundTripper {
	u.Groups = slices.Clone(u.Groups)
	return &local{c: c, user: &u}
}

// Client returns a client of the API inside this process, that calls as u.
func (c *Control) Client(u User) *client.Client {
	return client.New(localURL, &client.Config{HTTP: &http.Client{Transport: c.As(u)}})
}

// HTTP returns a client of the same API and of what nodes call, for Go callers in
// this process. Each has an identity of its own, under which one node can enrol and
// follow; it ends with the process, as does that node's: NodeHTTP is for one that
// comes back. API calls need a bearer token.
func (c *Control) HTTP() *http.Client {
	id, err := keys.OpenIdentity(keys.NewMemory(), "node")
	if err != nil {
		return &http.Client{Transport: &local{c: c}}
	}
	return c.NodeHTTP(id.Key())
}

// NodeHTTP is HTTP for the node with that identity key, which its certificate would
// show over TLS.
func (c *Control) NodeHTTP(identity keys.IdentityKey) *http.Client {
	return &http.Client{Transport: &local{c: c, identity: identity}}
}

// local is the way from a client to the handler without a network.
type local struct {
	c        *Control
	user     *User
	identity keys.IdentityKey
}

// WithCertificate returns the same way for the holder of a certificate.
func (l *local) WithCertificate(cert tls.Certificate) http.RoundTripper {
	k, err := keys.IdentityOf(cert.Leaf)
	if err != nil {
		return l
	}
	return &local{c: l.c, identity: k}
}

// RoundTrip implements http.RoundTripper. The answer's body is a pipe: what the
// handler writes waits until it is read, and closing it ends the handler's context.
func (l *local) RoundTrip(r *http.Request) (*http.Response, error) {
	l.c.mu.Lock()
	ok := l.c.begin()
	l.c.mu.Unlock()
	if !ok {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, net.ErrClosed
	}
	ctx, cancel := context.WithCancel(r.Context())
	stopping := context.AfterFunc(l.c.ctx, cancel)
	ctx = context.WithValue(ctx, localIdentity{}, l.identity)
	if l.user != nil {
		ctx = context.WithValue(ctx, localUser{}, *l.user)
	}
	in := r.Clone(ctx)
	in.RequestURI, in.TLS, in.RemoteAddr = r.URL.RequestURI(), nil, "local"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	reader, writer := io.Pipe()
	stop := context.AfterFunc(ctx, func() { reader.CloseWithError(context.Cause(ctx)) })
	w := &pipeWriter{pipe: writer, header: make(http.Header), started: make(chan struct{})}
	go func() {
		defer l.c.work.Done()
		defer in.Body.Close()
		defer func() { // as net/http has it: a fault of one call's is not the end of all
			v := recover()
			if v == nil {
				return
			}
			status := http.StatusOK
			if v != http.ErrAbortHandler {
				status = http.StatusInternalServerError
				l.c.log.Error("a call inside this process panicked", zap.Any("panic", v), zap.Stack("stack"))
			}
			w.WriteHeader(status)
			stop()
			stopping()
			writer.CloseWithError(io.ErrUnexpectedEOF)
		}()
		l.c.handler.ServeHTTP(w, in)
		w.WriteHeader(http.StatusOK)
		stop()
		stopping()
		writer.Close()
	}()
	select {
	case <-w.started:
	case <-ctx.Done():
		cancel()
		return nil, context.Cause(ctx)
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: &pipeBody{reader, cancel}, ContentLength: -1, Request: r,
	}, nil
}

type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b *pipeBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

type pipeWriter struct {
	pipe    *io.PipeWriter
	header  http.Header
	sent    http.Header
	status  int
	once    sync.Once
	started chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.started)
	})
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	n, err := w.pipe.Write(b)
	if errors.Is(err, io.ErrClosedPipe) {
		err = net.ErrClosed
	}
	return n, err
}

// Flush implements http.Flusher: nothing is held back.
func (w *pipeWriter) Flush() { w.WriteHeader(http.StatusOK) }
