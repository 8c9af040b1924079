package console

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console/internal/login"
)

const (
	maxBody    = 8 << 20 // the largest of control's API: a list of devices
	bodyWait   = 30 * time.Second
	writeLimit = 20 * time.Second
)

// passThrough is control's API as the signed-in user: same answers, same refusals,
// streams too.
func (c *Console) passThrough() http.Handler {
	quiet, _ := zap.NewStdLogAt(c.log, zap.DebugLevel) // a browser that went away is no news
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = "http", "control.local", ""
			p.Out.URL.Path = strings.TrimPrefix(p.In.URL.Path, "/console")
			p.Out.URL.RawPath = strings.TrimPrefix(p.In.URL.RawPath, "/console")
			// Who calls is the login's word alone.
			p.Out.Header.Del("Cookie")
			p.Out.Header.Del("Authorization")
		},
		Transport: asUser{c.control},
		ErrorLog:  quiet,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				refuse(w, http.StatusUnauthorized, "unauthenticated", "the sign-in is over")
				return
			}
			c.log.Warn("control does not answer", zap.Error(err))
			refuse(w, http.StatusBadGateway, "no_control", "control does not answer")
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		most := int64(maxAsked)
		if may(login.From(r.Context()).User, control.Admin, true) {
			most = maxBody // which nobody else may send
		}
		if err := takeBody(w, r, most); err != nil {
			refuse(w, http.StatusRequestEntityTooLarge, "oversized", "the body is too large, or came too slowly")
			return
		}
		rc := http.NewResponseController(w)
		defer rc.SetWriteDeadline(time.Time{})
		proxy.ServeHTTP(&limited{w, rc}, r)
	})
}

// asUser carries each request as the user of its login.
type asUser struct{ control Control }

// RoundTrip implements http.RoundTripper.
func (t asUser) RoundTrip(r *http.Request) (*http.Response, error) {
	l := login.From(r.Context())
	if l == nil {
		return nil, errors.New("console: a call without a login")
	}
	return t.control.As(l.User).RoundTrip(r)
}

// takeBody reads a body of at most so many bytes whole, so that no deadline of it ends
// what comes after.
func takeBody(w http.ResponseWriter, r *http.Request, most int64) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyWait))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	_ = rc.SetReadDeadline(time.Time{})
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return err
}

// limited gives a browser that takes nothing up: a stream must not wait for it for ever.
type limited struct {
	http.ResponseWriter
	rc *http.ResponseController
}

// Unwrap is for http.ResponseController.
func (l *limited) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// Write implements http.ResponseWriter.
func (l *limited) Write(b []byte) (int, error) {
	_ = l.rc.SetWriteDeadline(time.Now().Add(writeLimit))
	return l.ResponseWriter.Write(b)
}
