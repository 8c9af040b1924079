package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// OpenSession asks for a session of device, which takes the place of r.Device. It
// returns when the node has the operator's key in force; the session's Grant and
// Operator are the caller's. ctx bounds the call, not the session.
func (c *Client) OpenSession(ctx context.Context, device string, r *OpenRequest) (s Session, err error) {
	in := OpenRequest{}
	if r != nil {
		in = *r
	}
	in.Device = device
	err = c.call(ctx, http.MethodPost, "/sessions", nil, &in, &s)
	return s, err
}

// Sessions yields the sessions, the latest first.
func (c *Client) Sessions(ctx context.Context, f Filter) iter.Seq2[Session, error] {
	return list[Session](ctx, c, "/sessions", f.query())
}

// Session returns one session.
func (c *Client) Session(ctx context.Context, id string) (s Session, err error) {
	err = c.call(ctx, http.MethodGet, "/sessions/"+url.PathEscape(id), nil, nil, &s)
	return s, err
}

// SessionGrant returns a session with its latest Grant, and the caller's own legs, for
// an operator of the caller's in it: after a move his tunnel has another far end.
func (c *Client) SessionGrant(ctx context.Context, id, operator string) (s Session, err error) {
	err = c.call(ctx, http.MethodGet, "/sessions/"+url.PathEscape(id)+"/grant", url.Values{"operator": {operator}}, nil, &s)
	return s, err
}

// ExtendSession lets a session last for lifetime from now.
func (c *Client) ExtendSession(ctx context.Context, id string, lifetime time.Duration) (s Session, err error) {
	err = c.call(ctx, http.MethodPost, "/sessions/"+url.PathEscape(id)+"/extend", nil, &ExtendRequest{SecondsOf(lifetime)}, &s)
	return s, err
}

// CloseSession has the caller leave a session; the last operator's leaving closes it.
// Others stay in it, also when it is called again. It returns what the session has
// become, which may still be closing.
func (c *Client) CloseSession(ctx context.Context, id string) (Session, error) {
	return c.out(ctx, id, nil)
}

// RemoveOperator removes one operator, by his opaque id, as CloseSession does.
func (c *Client) RemoveOperator(ctx context.Context, id, operator string) (Session, error) {
	return c.out(ctx, id, url.Values{"operator": {operator}})
}

// CloseForAll closes a session for everybody who is in it.
func (c *Client) CloseForAll(ctx context.Context, id string) (Session, error) {
	return c.out(ctx, id, url.Values{"all": {"true"}})
}

func (c *Client) out(ctx context.Context, id string, q url.Values) (s Session, err error) {
	err = c.call(ctx, http.MethodDelete, "/sessions/"+url.PathEscape(id), q, nil, &s)
	return s, err
}

// WatchSession yields the session as it is, then after each change, and ends when
// it is over or ctx is. When the connection breaks it goes on where it was; it
// ends with an error only when control refuses or ctx ends.
func (c *Client) WatchSession(ctx context.Context, id string) iter.Seq2[Session, error] {
	return watch[Session](ctx, c, "/sessions/"+url.PathEscape(id)+"/events", func(s *Session) bool { return s.State.Final() })
}

// RenewSession lets an end-to-end session that the caller opened go on for some
// minutes, within the lifetime that it was opened or extended for. The answer has the
// Renewal, for the device, and the latest Grant, whose Rev is higher when the device
// needed a fresh key.
func (c *Client) RenewSession(ctx context.Context, id string) (s Session, err error) {
	err = c.call(ctx, http.MethodPost, "/sessions/"+url.PathEscape(id)+"/renew", nil, nil, &s)
	return s, err
}
