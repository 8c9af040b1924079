// Package api is control's HTTP API: routes, their OpenAPI document, and the shapes
// of requests and answers. What they do is a Backend's.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
	"github.com/boothwire/boothwire/internal/health"
	"github.com/boothwire/boothwire/internal/quota"
	"github.com/boothwire/boothwire/internal/strictjson"
)

// Backend does what the API says. It decides itself what a user may; its refusals
// are *client.Error.
type Backend interface {
	// Authenticate says who sent r.
	Authenticate(r *http.Request) (auth.User, error)
	// Fault hears of errors that are control's own.
	Fault(err error)
	// Ready says whether sessions can be opened at the moment.
	Ready(ctx context.Context) health.Report

	Devices(ctx context.Context, u auth.User, q Query) ([]client.Device, string, error)
	Device(ctx context.Context, u auth.User, id string) (client.Device, error)
	// MayView refuses who may see nothing at all.
	MayView(u auth.User) error
	// WatchDevices returns what a watcher misses who knew the devices at a version, once
	// there is something: events, each the JSON of a client.DeviceEvents, and the version
	// at which he knows them after all of these. It counts beside an error, too.
	WatchDevices(ctx context.Context, u auth.User, after uint64) (events [][]byte, version uint64, err error)
	PutDevice(ctx context.Context, u auth.User, id string, r client.DeviceRequest) (client.Device, error)
	DeleteDevice(ctx context.Context, u auth.User, id string) error
	ImportDevices(ctx context.Context, u auth.User, csv []byte) (client.Import, error)

	OpenSession(ctx context.Context, u auth.User, r client.OpenRequest) (client.Session, error)
	Sessions(ctx context.Context, u auth.User, q Query) ([]client.Session, string, error)
	Session(ctx context.Context, u auth.User, id string) (client.Session, error)
	// SessionGrant is the latest grant of a session for an operator of u's in it.
	SessionGrant(ctx context.Context, u auth.User, id, operator string) (client.Session, error)
	ExtendSession(ctx context.Context, u auth.User, id string, lifetime time.Duration) (client.Session, error)
	CloseSession(ctx context.Context, u auth.User, id string, whom Whom) (client.Session, error)
	// RenewSession lets an end-to-end session go on.
	RenewSession(ctx context.Context, u auth.User, id string) (client.Session, error)
	// MayOffer, SendOffer and WatchOffers are for who opened an end-to-end session.
	MayOffer(ctx context.Context, u auth.User, id string) error
	SendOffer(ctx context.Context, u auth.User, id, sealed string) error
	// WatchOffers returns the kept offers with numbers above after once there is one;
	// their numbers follow each other, and last is the last one's.
	WatchOffers(ctx context.Context, u auth.User, id string, after uint64) (list []client.Offer, last uint64, err error)
	// MayFollow refuses who may not know which sessions are over.
	MayFollow(u auth.User) error
	// WatchRevocations returns the sessions that are over with numbers above after
	// once there is one, and the number of the last.
	WatchRevocations(ctx context.Context, u auth.User, after uint64) ([]client.Revocation, uint64, error)
	// WatchSession returns the session once its version differs from after, and its
	// version.
	WatchSession(ctx context.Context, u auth.User, id string, after uint64) (client.Session, uint64, error)

	Nodes(ctx context.Context, u auth.User, q Query) ([]client.Node, string, error)
	ClaimNode(ctx context.Context, u auth.User, name string) (client.Claim, error)
	DeleteNode(ctx context.Context, u auth.User, name string) error
	DrainNode(ctx context.Context, u auth.User, name string, r client.DrainRequest) (client.Node, error)

	Audit(ctx context.Context, u auth.User, q AuditQuery) ([]client.Audit, string, error)
	Trust(ctx context.Context, u auth.User) (client.Trust, error)

	Tokens(ctx context.Context, u auth.User, q Query) ([]client.Token, string, error)
	CreateToken(ctx context.Context, u auth.User, r client.TokenRequest) (client.Token, error)
	DeleteToken(ctx context.Context, u auth.User, id string) error
}

// Query narrows a list and names a page of it.
type Query struct {
	Device  string `query:"device" maxLength:"64"`
	Group   string `query:"group" maxLength:"64"`
	Session string `query:"session" maxLength:"64"`
	Text    string `query:"text" maxLength:"64" doc:"Contained in the id"`
	Open    bool   `query:"open" doc:"Only what is not over"`
	After   string `query:"after" maxLength:"64" doc:"The next of the page before"`
	Limit   int    `query:"limit" minimum:"1" maximum:"1000" default:"500"`
}

// Limits of bodies, in bytes.
const (
	maxBody = 64 << 10
	maxCSV  = 8 << 20 // 80,000 devices
)

// Handler serves the API. It is registered under /, with patterns of its own.
func Handler(b Backend) http.Handler {
	mux := http.NewServeMux()
	api := humago.New(mux, config(b))
	s := &service{b: b, api: api}
	api.UseMiddleware(s.authenticate)
	s.devices()
	s.sessions()
	s.nodes()
	s.others()
	s.audit()
	s.revocations()
	health.Register(mux, b.Ready)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		WriteProblem(w, &client.Error{Status: http.StatusNotFound, Code: "not_found", Title: http.StatusText(http.StatusNotFound)})
	})
	describe(api.OpenAPI())
	return mux
}

type service struct {
	b        Backend
	api      huma.API
	watching quota.Each // by user
}

func config(b Backend) huma.Config {
	c := huma.DefaultConfig("boothwire control", "1")
	c.Info.Description = "Opens, watches and closes sessions to devices. Errors are problem documents (RFC 9457) with a stable code."
	c.CreateHooks = nil // no links to schemas in answers
	c.DocsPath, c.SchemasPath = "", ""
	c.AllowAdditionalPropertiesByDefault = true // an older control ignores a newer client's fields
	f := huma.Format{Marshal: marshal, Unmarshal: func(b []byte, v any) error {
		// Strict as everywhere: no field twice, no folded case.
		if err := strictjson.Check(b); err != nil {
			return err
		}
		return json.Unmarshal(b, v)
	}}
	c.Formats = map[string]huma.Format{"application/json": f, "json": f}
	c.Transformers = []huma.Transformer{func(_ huma.Context, _ string, v any) (any, error) {
		switch v := v.(type) {
		case *huma.ErrorModel:
			return fromModel(v), nil
		case *problem:
			if v.fault != nil {
				b.Fault(v.fault)
			}
		}
		return v, nil
	}}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	return c
}

type cause = client.Error // so that the embedded field does not hide its method Error

// marshal writes an answer. That the caller is gone is no error: the framework would
// panic.
func marshal(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, _ = w.Write(append(b, '\n'))
	}
	return err
}

// problem is a *client.Error as an answer.
type problem struct {
	cause
	fault error // for the log, not for the caller
}

// GetStatus implements huma.StatusError.
func (p *problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// fromModel gives what the framework refuses our shape.
func fromModel(m *huma.ErrorModel) *problem {
	p := &problem{cause: cause{Status: m.Status, Code: "malformed", Title: m.Title, Detail: m.Detail}}
	switch m.Status {
	case http.StatusRequestEntityTooLarge:
		p.Code = "oversized"
	case http.StatusInternalServerError:
		p.Code = "internal"
	case http.StatusUnsupportedMediaType, http.StatusNotAcceptable:
		p.Code = "unsupported"
	}
	for _, d := range m.Errors {
		p.Fields = append(p.Fields, client.BadField{Field: d.Location, Text: d.Message})
	}
	return p
}

// refused turns what a Backend refused into an answer. Other errors are control's
// own fault, and their text is not for strangers.
func refused(err error) error {
	e, ok := errors.AsType[*client.Error](err)
	switch {
	case err == nil:
		return nil
	case ok:
		p := &problem{cause: *e}
		if p.Title == "" {
			p.Title = http.StatusText(p.Status)
		}
		return p
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &problem{cause: cause{Status: http.StatusServiceUnavailable, Code: "cancelled", Title: http.StatusText(http.StatusServiceUnavailable)}}
	}
	return &problem{cause{Status: http.StatusInternalServerError, Code: "internal", Title: http.StatusText(http.StatusInternalServerError)}, err}
}

type userKey struct{}

func userOf(ctx context.Context) auth.User {
	u, _ := ctx.Value(userKey{}).(auth.User)
	return u
}

// authenticate puts the user into the context of each operation.
func (s *service) authenticate(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	u, err := s.b.Authenticate(r)
	if err != nil {
		p, ok := errors.AsType[*problem](refused(err))
		if !ok || p.Status == http.StatusInternalServerError {
			p = &problem{cause: cause{Status: http.StatusUnauthorized, Code: "unauthenticated", Title: http.StatusText(http.StatusUnauthorized)}}
		}
		if p.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		WriteProblem(w, &p.cause)
		return
	}
	ctx = huma.WithValue(ctx, connKey{}, http.NewResponseController(w))
	next(huma.WithValue(ctx, userKey{}, u))
}

type connKey struct{}

// patience is how long a call may take that waits for a device and a node.
const patience = time.Minute

// patient lets the connection of a call that waits outlast the deadlines for bodies:
// one that passes meanwhile would cancel the call.
func patient(ctx context.Context) {
	if rc, ok := ctx.Value(connKey{}).(*http.ResponseController); ok {
		_ = rc.SetReadDeadline(time.Time{})
		_ = rc.SetWriteDeadline(time.Now().Add(patience))
	}
}

// WriteProblem answers with a problem document.
func WriteProblem(w http.ResponseWriter, e *client.Error) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(e)
}

// body is an answer.
type body[T any] struct {
	CacheControl string `header:"Cache-Control"`
	Body         T
}

func answer[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, refused(err)
	}
	return &body[T]{"no-store", v}, nil
}

// List is a page of a list.
type List[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"Where the next page starts; empty: this is the last"`
}

func page[T any](items []T, next string, err error) (*body[List[T]], error) {
	if items == nil {
		items = []T{}
	}
	return answer(List[T]{items, next}, err)
}

// operation describes a route.
func operation(method, path, id, summary, tag string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: "/api/v1" + path, Summary: summary, Tags: []string{tag},
		MaxBodyBytes: maxBody, Security: []map[string][]string{{"token": {}}}, BodyReadTimeout: 15 * time.Second,
	}
}

// describe gives every refusal in the document the shape that it has.
func describe(doc *huma.OpenAPI) {
	schema := doc.Components.Schemas.Schema(problemType(), true, "Problem")
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete} {
			if op == nil {
				continue
			}
			for _, r := range op.Responses {
				if m := r.Content["application/problem+json"]; m != nil {
					m.Schema = schema
				}
			}
		}
	}
	delete(doc.Components.Schemas.Map(), "ErrorModel")
	delete(doc.Components.Schemas.Map(), "ErrorDetail")
}
