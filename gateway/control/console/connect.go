package console

import (
	"errors"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/held"
	"github.com/boothwire/boothwire/gateway/control/console/internal/login"
	"github.com/boothwire/boothwire/internal/strictjson"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// Policy is what pages ask for before they ask control, which decides; and how sessions
// are held here. Its zero value is control's defaults.
type Policy struct {
	RequireReason, RequireTicket bool          // as in control.Config
	Kind                         string        // likewise
	Lifetime, Longest            time.Duration // likewise
	Ports                        []keys.Port   // that a session asks for; default tcp/22, tcp/445 and tcp/3389
	Grace                        time.Duration // after the last tab, until a session is left; default 60 s, negative: none
	Most                         int           // sessions of one user at once; default 8
}

// What control.Config's zero value means.
const (
	defaultLifetime = time.Hour
	defaultLongest  = 8 * time.Hour
	defaultGrace    = time.Minute
)

// settled has the defaults filled in.
func (p Policy) settled() Policy {
	if p.Longest <= 0 {
		p.Longest = defaultLongest
	}
	if p.Lifetime <= 0 {
		p.Lifetime = min(defaultLifetime, p.Longest)
	}
	if len(p.Ports) == 0 {
		p.Ports = []keys.Port{keys.TCP(22), keys.TCP(445), keys.TCP(3389)}
	}
	if p.Grace == 0 {
		p.Grace = defaultGrace
	}
	return p
}

// sessions are how this console holds sessions.
func (p Policy) sessions(op operator.Config, log *zap.Logger) *held.Sessions {
	return held.New(&held.Config{Grace: p.Grace, Most: p.Most, Ports: p.Ports, Operator: op, Logger: log})
}

// policyShown is a Policy as pages see it.
type policyShown struct {
	RequireReason bool           `json:"require_reason"`
	RequireTicket bool           `json:"require_ticket"`
	Kinds         []string       `json:"kinds"` // the default first
	Lifetime      client.Seconds `json:"lifetime_s"`
	Longest       client.Seconds `json:"longest_s"`
	Ports         []keys.Port    `json:"ports"`
	Grace         client.Seconds `json:"grace_s"`
}

func (p Policy) shown() policyShown {
	kinds := []string{control.KindNode, control.KindEndToEnd}
	if p.Kind != "" {
		kinds = []string{p.Kind}
	}
	return policyShown{
		RequireReason: p.RequireReason, RequireTicket: p.RequireTicket, Kinds: kinds, Ports: p.Ports,
		Lifetime: client.SecondsOf(p.Lifetime), Longest: client.SecondsOf(p.Longest), Grace: client.SecondsOf(max(p.Grace, 0)),
	}
}

// showPolicy serves GET /console/policy.
func (c *Console) showPolicy(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, c.cfg.Policy.shown())
}

// connectRequest asks for a session with a device.
type connectRequest struct {
	Device   string         `json:"device"`
	Reason   string         `json:"reason"`
	Ticket   string         `json:"ticket"`
	Ports    []keys.Port    `json:"ports"`
	Lifetime client.Seconds `json:"lifetime_s"`
	EndToEnd bool           `json:"end_to_end"`
}

// connect serves POST /console/connect: it answers when control has agreed.
func (c *Console) connect(w http.ResponseWriter, r *http.Request) {
	var in connectRequest
	if !read(w, r, &in) {
		return
	}
	if !keys.ValidID(in.Device) {
		refuse(w, http.StatusNotFound, "not_found", "no such device or session")
		return
	}
	s, err := c.held.Open(r.Context(), held.Request{
		Who: whoOf(r), API: c.apiOf(r), Device: in.Device, Reason: in.Reason, Ticket: in.Ticket, Ports: in.Ports,
		Lifetime: in.Lifetime.Duration(), EndToEnd: in.EndToEnd,
	})
	if err != nil {
		c.refuseWith(w, r, err)
		return
	}
	answer(w, http.StatusCreated, map[string]string{"session": s.ID})
}

// whoOf is who asks.
func whoOf(r *http.Request) held.Who {
	l := login.From(r.Context())
	return held.Who{User: l.User.Name, Login: l.ID, Until: l.Context()}
}

// apiOf is control's API as who asks.
func (c *Console) apiOf(r *http.Request) *client.Client {
	return client.New("http://control.local", &client.Config{HTTP: &http.Client{Transport: c.control.As(login.From(r.Context()).User)}})
}

// maxAsked bounds a request of a page's own, and most calls of control's API.
const maxAsked = 64 << 10

// read takes a request's JSON, or refuses it.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := takeBody(w, r, maxAsked); err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, keys.ReasonOversized, "the body is too large, or came too slowly")
		return false
	}
	text, err := io.ReadAll(r.Body)
	if err == nil {
		err = strictjson.Unmarshal(text, v)
	}
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, keys.ReasonMalformed, "the body is not what it should be")
	}
	return err == nil
}

// refuseWith answers with an error, as control would.
func (c *Console) refuseWith(w http.ResponseWriter, r *http.Request, err error) {
	if e, ok := errors.AsType[*client.Error](err); ok {
		refuse(w, e.Status, e.Code, e.Detail)
		return
	}
	if e, ok := errors.AsType[*operator.Error](err); ok {
		refuse(w, http.StatusBadGateway, e.Code, e.Error())
		return
	}
	if r.Context().Err() == nil {
		c.log.Error("a request failed", zap.String("path", r.URL.Path), zap.Error(err))
	}
	refuse(w, http.StatusBadGateway, "internal", "the console could not do it; its log says more")
}
