package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
)

func (s *service) sessions() {
	const tag = "sessions"
	huma.Register(s.api, operation(http.MethodGet, "/sessions", "list-sessions", "List sessions, the latest first", tag),
		func(ctx context.Context, in *Query) (*body[List[client.Session]], error) {
			return page(s.b.Sessions(ctx, userOf(ctx), *in))
		})
	op := operation(http.MethodPost, "/sessions", "open-session", "Open a device's session, or join it; answers when the node is ready", tag)
	op.DefaultStatus = http.StatusCreated
	huma.Register(s.api, op, func(ctx context.Context, in *struct{ Body client.OpenRequest }) (*body[client.Session], error) {
		patient(ctx)
		return answer(s.b.OpenSession(ctx, userOf(ctx), in.Body))
	})
	huma.Register(s.api, operation(http.MethodGet, "/sessions/{id}", "get-session", "Show a session", tag),
		func(ctx context.Context, in *ByID) (*body[client.Session], error) {
			return answer(s.b.Session(ctx, userOf(ctx), in.ID))
		})
	huma.Register(s.api, operation(http.MethodPost, "/sessions/{id}/extend", "extend-session", "Let a session last longer", tag),
		func(ctx context.Context, in *struct {
			ByID
			Body client.ExtendRequest
		}) (*body[client.Session], error) {
			patient(ctx)
			return answer(s.b.ExtendSession(ctx, userOf(ctx), in.ID, in.Body.Lifetime.Duration()))
		})
	huma.Register(s.api, operation(http.MethodDelete, "/sessions/{id}", "close-session", "Leave a session; the last operator closes it", tag),
		func(ctx context.Context, in *struct {
			ByID
			Operator string `query:"operator" maxLength:"64" doc:"Opaque id of the one to remove; empty: the caller"`
		}) (*body[client.Session], error) {
			patient(ctx)
			return answer(s.b.CloseSession(ctx, userOf(ctx), in.ID, in.Operator))
		})
	s.events(tag)
}

type watchRequest struct {
	ByID
	Last string `header:"Last-Event-ID" maxLength:"20" doc:"Of the last event that was seen"`
}

// events registers the stream of a session. The framework's own helper sends no ids
// that fit, and no comments that keep a connection alive.
func (s *service) events(tag string) {
	op := operation(http.MethodGet, "/sessions/{id}/events", "watch-session", "Follow a session: the session as it is, then after each change, until it is over", tag)
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Server-sent events named session, each with a session as its data",
		Content: map[string]*huma.MediaType{"text/event-stream": {
			Schema: &huma.Schema{Type: huma.TypeString, Description: "data: a Session in JSON; id: its version"},
		}},
	}}
	huma.Register(s.api, op, func(ctx context.Context, in *watchRequest) (*huma.StreamResponse, error) {
		u := userOf(ctx)
		after, _ := strconv.ParseUint(in.Last, 10, 64)
		// A session that may not be seen is refused before the stream starts.
		if _, err := s.b.Session(ctx, u, in.ID); err != nil {
			return nil, refused(err)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			r, w := humago.Unwrap(hc)
			_ = s.stream(r, w, u, in.ID, after)
		}}, nil
	})
}

const (
	keepAlive  = 10 * time.Second // clients give up after three
	writeLimit = 20 * time.Second
)

func (s *service) stream(r *http.Request, w http.ResponseWriter, u auth.User, id string, after uint64) error {
	ctx := r.Context()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{})
	say := func(text string) error {
		_ = rc.SetWriteDeadline(time.Now().Add(writeLimit))
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		return rc.Flush()
	}
	if err := say(": hello\n\n"); err != nil {
		return err
	}
	for {
		wait, cancel := context.WithTimeout(ctx, keepAlive)
		v, version, err := s.b.WatchSession(wait, u, id, after)
		cancel()
		// The token may have ended meanwhile.
		still, refused := s.b.Authenticate(r)
		if refused != nil {
			return refused
		}
		u = still
		switch {
		case err == nil:
			data, err := json.Marshal(v)
			if err != nil {
				return err
			}
			if err := say(fmt.Sprintf("event: session\nid: %d\ndata: %s\n\n", version, data)); err != nil {
				return err
			}
			if after = version; v.State.Final() {
				return nil
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			if err := say(":\n\n"); err != nil {
				return err
			}
		default:
			return err
		}
	}
}
