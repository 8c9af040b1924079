package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
	"github.com/boothwire/boothwire/keys"
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
	huma.Register(s.api, operation(http.MethodGet, "/sessions/{id}/grant", "get-grant", "Show the latest grant of a session to one of its operators, whose far end it may have changed", tag),
		func(ctx context.Context, in *struct {
			ByID
			Operator string `query:"operator" required:"true" minLength:"1" maxLength:"64" doc:"The caller's opaque id"`
		}) (*body[client.Session], error) {
			return answer(s.b.SessionGrant(ctx, userOf(ctx), in.ID, in.Operator))
		})
	huma.Register(s.api, operation(http.MethodPost, "/sessions/{id}/extend", "extend-session", "Let a session last longer", tag),
		func(ctx context.Context, in *struct {
			ByID
			Body client.ExtendRequest
		}) (*body[client.Session], error) {
			patient(ctx)
			return answer(s.b.ExtendSession(ctx, userOf(ctx), in.ID, in.Body.Lifetime.Duration()))
		})
	huma.Register(s.api, operation(http.MethodDelete, "/sessions/{id}", "close-session", "Leave a session, or have another or everybody out of it; the last operator closes it", tag),
		func(ctx context.Context, in *struct {
			ByID
			Operator string `query:"operator" maxLength:"64" doc:"Opaque id of the one to remove; empty: the caller, in all his ways"`
			All      bool   `query:"all" doc:"Close it for everybody who is in it; an approver may, where others are"`
		}) (*body[client.Session], error) {
			patient(ctx)
			if in.All && in.Operator != "" {
				return nil, refused(client.Refuse(http.StatusUnprocessableEntity, keys.ReasonMalformed, "one operator, or all"))
			}
			return answer(s.b.CloseSession(ctx, userOf(ctx), in.ID, Whom{in.Operator, in.All}))
		})
	huma.Register(s.api, operation(http.MethodPost, "/sessions/{id}/renew", "renew-session", "Let an end-to-end session go on for a while: a signed word for the device, to be sent through the tunnel", tag),
		func(ctx context.Context, in *ByID) (*body[client.Session], error) {
			return answer(s.b.RenewSession(ctx, userOf(ctx), in.ID))
		})
	huma.Register(s.api, operation(http.MethodPost, "/sessions/{id}/offers", "send-offer", "Pass a sealed offer of candidates on to the device of an end-to-end session", tag),
		func(ctx context.Context, in *struct {
			ByID
			Body client.OfferRequest
		}) (*empty, error) {
			return nil, refused(s.b.SendOffer(ctx, userOf(ctx), in.ID, in.Body.Sealed))
		})
	s.events(tag)
	s.offers(tag)
}

// Whom says who is to be out of a session: one operator, by his opaque id, all, or, in
// its zero value, the caller.
type Whom struct {
	Operator string
	All      bool
}

type watchRequest struct {
	ByID
	Last string `header:"Last-Event-ID" maxLength:"20" doc:"Of the last event that was seen"`
}

// events registers the stream of a session. The framework's own helper sends no ids
// that fit, and no comments that keep a connection alive.
func (s *service) events(tag string) {
	op := operation(http.MethodGet, "/sessions/{id}/events", "watch-session", "Follow a session: the session as it is, then after each change, until it is over", tag)
	op.Responses = streamed("session", "a Session in JSON; id: its version")
	huma.Register(s.api, op, func(ctx context.Context, in *watchRequest) (*huma.StreamResponse, error) {
		after, _ := strconv.ParseUint(in.Last, 10, 64)
		// A session that may not be seen is refused before the stream starts.
		if _, err := s.b.Session(ctx, userOf(ctx), in.ID); err != nil {
			return nil, refused(err)
		}
		return s.streams(ctx, func(ctx context.Context, u auth.User) ([]event, bool, error) {
			v, version, err := s.b.WatchSession(ctx, u, in.ID, after)
			if err != nil {
				return nil, false, err
			}
			after = version
			return []event{{"session", version, v}}, v.State.Final(), nil
		}), nil
	})
}

// offers registers the stream of what a device offers.
func (s *service) offers(tag string) {
	op := operation(http.MethodGet, "/sessions/{id}/offers", "watch-offers", "Follow the sealed offers of the device of an end-to-end session: the latest few, then each that comes, until it is over", tag)
	op.Responses = streamed("offer", "an Offer in JSON; id: its number")
	huma.Register(s.api, op, func(ctx context.Context, in *watchRequest) (*huma.StreamResponse, error) {
		after, _ := strconv.ParseUint(in.Last, 10, 64)
		if err := s.b.MayOffer(ctx, userOf(ctx), in.ID); err != nil {
			return nil, refused(err)
		}
		return s.streams(ctx, func(ctx context.Context, u auth.User) ([]event, bool, error) {
			list, last, err := s.b.WatchOffers(ctx, u, in.ID, after)
			if err != nil {
				return nil, false, err
			}
			var events []event
			for i, o := range list {
				events = append(events, event{"offer", last - uint64(len(list)-1-i), o})
			}
			after = last
			return events, false, nil
		}), nil
	})
}

// revocations registers what relays follow.
func (s *service) revocations() {
	op := operation(http.MethodGet, "/revocations", "watch-revocations", "Follow which sessions are over: those of the last hour, then each as it ends", "relays")
	op.Responses = streamed("revocation", "a Revocation in JSON")
	huma.Register(s.api, op, func(ctx context.Context, _ *empty) (*huma.StreamResponse, error) {
		if err := s.b.MayFollow(userOf(ctx)); err != nil {
			return nil, refused(err)
		}
		var after uint64
		return s.streams(ctx, func(ctx context.Context, u auth.User) ([]event, bool, error) {
			list, last, err := s.b.WatchRevocations(ctx, u, after)
			if err != nil {
				return nil, false, err
			}
			var events []event
			for _, r := range list {
				events = append(events, event{"revocation", 0, r})
			}
			after = last
			return events, false, nil
		}), nil
	})
}

// streamed describes the answer of a stream.
func streamed(name, data string) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: "Server-sent events named " + name,
		Content: map[string]*huma.MediaType{"text/event-stream": {
			Schema: &huma.Schema{Type: huma.TypeString, Description: "data: " + data},
		}},
	}}
}

// streams answers with a stream of what next returns.
func (s *service) streams(ctx context.Context, next source) *huma.StreamResponse {
	u := userOf(ctx)
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		_ = s.stream(r, w, u, next)
	}}
}
