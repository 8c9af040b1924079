package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// liveSilence is how long a caller may pause in the middle of a body, or take no byte
// of an answer. Streams say something each 10 s.
const liveSilence = time.Minute

// live is a call that is carried as it comes: its body is not kept.
type live struct {
	m    *Member
	body *liveBody
}

func (m *Member) liveParcel(w http.ResponseWriter, r *http.Request) (parcel, error) {
	return live{m, &liveBody{ReadCloser: r.Body, rc: http.NewResponseController(w)}}, nil
}

func (p live) rewind(r *http.Request) { r.Body = p.body.ReadCloser }

// pass hands the call over, and a connection that another protocol takes over, until
// either end closes it or the term of o is over.
func (p live) pass(w http.ResponseWriter, r *http.Request, o *other) error {
	base, err := url.Parse(o.URL)
	if err != nil || base.Host == "" {
		return unsent{fmt.Errorf("control: %q is no URL of a member", o.URL)}
	}
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), pinOf{}, o.Pin))
	defer cancel()
	defer context.AfterFunc(o.ctx, cancel)()
	in := r.WithContext(ctx)
	if r.ContentLength != 0 {
		in.Body = p.body
	}
	var failed error
	proxy := httputil.ReverseProxy{
		Transport:     p.m.way.http,
		FlushInterval: -1, // at once
		ErrorLog:      zap.NewStdLog(p.m.log),
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host = base.Scheme, base.Host
			vouch(pr.Out, pr.In, p.m.secret)
			// Who came by a proxy on this machine is not of this machine.
			for _, name := range []string{"Forwarded", "X-Forwarded-For"} {
				if v, ok := pr.In.Header[name]; ok {
					pr.Out.Header[name] = v
				}
			}
		},
		ModifyResponse: func(res *http.Response) error {
			if res.Header.Get(headerNoLead) != "" {
				return unsent{errors.New("control: the lead has passed on")}
			}
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
	}
	out := &liveWriter{w, http.NewResponseController(w)}
	defer func() { _ = out.rc.SetWriteDeadline(time.Time{}) }() // the connection may have other calls
	proxy.ServeHTTP(out, in)
	if failed != nil && p.body.touched.Load() {
		// Some of it is gone. Who asked may ask again.
		return fmt.Errorf("control: %v", failed)
	}
	return failed
}

// liveBody is the body of a call, which the transport of a try that came to nothing
// must not close.
type liveBody struct {
	io.ReadCloser
	rc      *http.ResponseController
	touched atomic.Bool // the transport may read on after the answer
}

func (b *liveBody) Read(p []byte) (int, error) {
	b.touched.Store(true)
	_ = b.rc.SetReadDeadline(time.Now().Add(liveSilence))
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// Close leaves the body to the server, which closes it after the call.
func (b *liveBody) Close() error { return nil }

// liveWriter gives up on a caller who takes nothing.
type liveWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (w *liveWriter) Write(b []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(liveSilence))
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController: connections are taken over below.
func (w *liveWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
