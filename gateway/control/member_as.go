package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/boothwire/boothwire/gateway/control/client"
)

// As is that of the Control that this member is at each call. While it has not got the
// lead a call is answered 503 with the code "no_lead", and nothing was done.
func (m *Member) As(u User) http.RoundTripper {
	u.Groups = slices.Clone(u.Groups)
	return &memberWay{m, u}
}

// memberWay is the way to the API of a member.
type memberWay struct {
	m    *Member
	user User
}

// RoundTrip implements http.RoundTripper.
func (w *memberWay) RoundTrip(r *http.Request) (*http.Response, error) {
	if c, _, _ := w.m.deciding(); c != nil {
		res, err := c.As(w.user).RoundTrip(r)
		if !errors.Is(err, net.ErrClosed) || r.Context().Err() != nil {
			return res, err
		}
		// Its term was over before the call began.
	} else if r.Body != nil {
		r.Body.Close()
	}
	return noLead(r)
}

// noLead is what refuseNoLead says.
func noLead(r *http.Request) (*http.Response, error) {
	const status = http.StatusServiceUnavailable
	text, err := json.Marshal(client.Error{Status: status, Code: codeNoLead, Title: http.StatusText(status), Detail: whyNoLead})
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/problem+json"}, "Retry-After": {"1"}, headerNoLead: {"1"}},
		Body:   io.NopCloser(bytes.NewReader(text)), ContentLength: int64(len(text)), Request: r,
	}, err
}
