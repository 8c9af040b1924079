package control

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
	"github.com/boothwire/boothwire/gateway/control/internal/machine"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
)

var errNotFound = &client.Error{Status: http.StatusNotFound, Code: "not_found", Title: "Not Found", Detail: "no such device or session"}

// OpenSession opens or joins a session; see client.Client.OpenSession.
func (c *Control) openSession(ctx context.Context, u User, in client.OpenRequest) (client.Session, error) {
	v, err := c.tryOpen(ctx, u, &in)
	if err != nil {
		row := store.Audit{Who: u.Name, What: auditRefused, Code: codeOf(err, "internal"), Detail: in.Ticket}
		if keys.ValidID(in.Device) {
			row.Device = in.Device // no device has another name, which may be as long as a body
		}
		c.note(row)
	}
	return v, err
}

func (c *Control) tryOpen(ctx context.Context, u User, in *client.OpenRequest) (client.Session, error) {
	if err := c.mayOpen(ctx, u, in); err != nil {
		return client.Session{}, err
	}
	if err := c.checkOpen(in); err != nil {
		return client.Session{}, err
	}
	o := operator{id: keys.NewID(), user: u.Name, key: in.Key, ports: in.Ports}
	var s *session
	var joined bool
	err := c.awaitNode(ctx, func() (err error) { s, joined, err = c.claim(u, in); return err })
	if err != nil {
		return client.Session{}, err
	}
	if joined {
		return c.join(ctx, u, s, o, in)
	}
	c.counts.opened.Add(1)
	kind := ""
	if s.endToEnd {
		kind = KindEndToEnd
	}
	c.mu.Lock()
	c.noteOf(s, store.Audit{Who: u.Name, What: auditOpen, Device: in.Device, Session: s.id, Node: s.name, Code: kind, Detail: purpose(in)})
	c.mu.Unlock()
	c.first(s, change{add: &o, batch: true})
	v, err := c.await(ctx, s, 1, o.id)
	if err != nil && ctx.Err() != nil {
		// Nobody has the grant, so nobody could use the session.
		c.closeFor(s, "cancelled", "the caller went away")
	}
	return v, err
}

// mayOpen is every question of authority before an open.
func (c *Control) mayOpen(ctx context.Context, u User, in *client.OpenRequest) error {
	c.mu.Lock()
	d := c.devices[in.Device]
	_, strange := c.strangers.seen[in.Device]
	group := ""
	if d != nil {
		group = d.row.Group
	}
	c.mu.Unlock()
	if err := c.policy().Authorise(u, auth.Request{Action: auth.Open, Device: in.Device, Group: group, Reason: in.Reason, Ticket: in.Ticket}); err != nil {
		return err
	}
	switch {
	case d == nil && strange:
		return fail(http.StatusConflict, "not_registered", "the device's identity key was not registered")
	case d == nil:
		return errNotFound
	case c.cfg.MayOpen == nil:
		return nil
	}
	err := c.cfg.MayOpen(ctx, u, in.Device, in)
	if e, ok := errors.AsType[*client.Error](err); ok || err == nil {
		if e == nil {
			return nil
		}
		return e
	}
	return fail(http.StatusForbidden, codeOf(err, "refused"), err.Error())
}

// purpose is what somebody says that he opens a session for.
func purpose(in *client.OpenRequest) string {
	if in.Ticket == "" || in.Reason == "" {
		return in.Ticket + in.Reason
	}
	return in.Ticket + ": " + in.Reason
}

func (c *Control) policy() auth.Policy {
	return auth.Policy{RequireReason: c.cfg.RequireReason, RequireTicket: c.cfg.RequireTicket}
}

// maxPorts bounds what one operator is granted.
const maxPorts = 16

// checkOpen fills in what in leaves open, and refuses what cannot be.
func (c *Control) checkOpen(in *client.OpenRequest) error {
	if len(in.Ports) == 0 {
		in.Ports = []keys.Port{keys.TCP(22)}
	}
	if in.Lifetime == 0 {
		in.Lifetime = client.SecondsOf(c.cfg.Lifetime)
	}
	in.EndToEnd = in.EndToEnd || c.cfg.Kind == KindEndToEnd
	bad := func(code, why string) error { return fail(http.StatusUnprocessableEntity, code, why) }
	switch {
	case in.EndToEnd && c.cfg.Kind == KindNode:
		return fail(http.StatusForbidden, "forbidden", "sessions go through a node here")
	case in.EndToEnd && in.Node != "":
		return bad(keys.ReasonMalformed, "an end-to-end session has no node")
	case in.Key.IsZero():
		return bad(keys.ReasonMalformed, "an operator needs a one-time key")
	case len(in.Ports) > maxPorts:
		return bad(keys.ReasonMalformed, "too many ports")
	case in.Lifetime < 1 || in.Lifetime.Duration() > c.cfg.Longest:
		return bad("too_long", "a session lasts at most "+c.cfg.Longest.String())
	case in.Node != "" && !keys.ValidID(in.Node):
		return bad(keys.ReasonMalformed, "no name of a node")
	}
	return nil
}

// claim returns the session of a device that is to be joined, or a new one.
func (c *Control) claim(u User, in *client.OpenRequest) (s *session, joined bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.devices[in.Device]
	switch {
	case c.shut:
		return nil, false, fail(http.StatusServiceUnavailable, "stopping", "control is stopping")
	case d == nil:
		return nil, false, errNotFound
	case d.session != nil && (in.EndToEnd || d.session.endToEnd):
		// Two keys, and nobody between them: there is no way for a third.
		return nil, false, fail(http.StatusConflict, keys.ReasonBusy, "another session of the device is open")
	case d.session != nil && (c.cfg.Exclusive && len(d.session.present()) > 0):
		return nil, false, fail(http.StatusConflict, keys.ReasonBusy, "another session of the device is open")
	case d.session != nil && in.Node != "" && in.Node != d.session.name:
		return nil, false, fail(http.StatusConflict, keys.ReasonBusy, "the device's session is on the node "+d.session.name)
	case d.session != nil:
		return d.session, true, nil
	}
	if in.EndToEnd {
		s, err = c.endToEnd(d, in.Lifetime.Duration())
	} else {
		var n *node
		if n, err = c.choose(d, in.Node); err == nil {
			s = c.newSession(d, n, in.Lifetime.Duration())
		}
	}
	if err != nil {
		return nil, false, err
	}
	s.user, s.reason, s.ticket, s.batch, s.named = u, in.Reason, in.Ticket, in.Batch, in.Node != ""
	return s, false, nil
}

// newSession makes d's session on n, or without a node; mu is held.
func (c *Control) newSession(d *device, n *node, lifetime time.Duration) *session {
	now := c.cfg.Now()
	s := &session{id: keys.NewID(), dev: d, node: n, opened: now, lifetime: lifetime, m: machine.New(now.Add(lifetime))}
	if n != nil {
		s.name, d.last = n.row.Name, n.row.Name
	}
	d.session = s
	c.track(s)
	c.rearm(s, now)
	c.feed.touch(d.row.ID)
	return s
}

// first makes the first revision, or has the device asked for a key. Without a
// grant yet, the operators wait in s.
func (c *Control) first(s *session, ch change) {
	err := c.issue(s, ch)
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	if errors.Is(err, errNoPrekey) {
		if ch.add != nil {
			ch.add.added = now
			s.operators = append(s.operators, *ch.add)
		}
		s.m.Ask(now)
	} else {
		s.m.Unissued(now, codeOf(err, machine.CodeInternal), whyOf(err))
	}
	c.act(s, now)
}

// join adds an operator to an open session.
func (c *Control) join(ctx context.Context, u User, s *session, o operator, in *client.OpenRequest) (client.Session, error) {
	// The first grant says who the device is; before it there is nothing to join.
	if _, err := c.await(ctx, s, 1, ""); err != nil {
		return client.Session{}, err
	}
	if err := c.issue(s, change{add: &o}); err != nil {
		return client.Session{}, err
	}
	c.note(store.Audit{Who: u.Name, What: auditJoin, Device: in.Device, Session: s.id, Node: s.name, Detail: purpose(in)})
	c.mu.Lock()
	rev := s.m.Rev
	c.mu.Unlock()
	v, err := c.await(ctx, s, rev, o.id)
	if err != nil {
		// He has no grant. Where the node refused him it would refuse every later
		// revision with him, so that nobody could extend the session or come back to it.
		_ = c.issue(s, change{remove: []string{o.id}})
	}
	return v, err
}

// await waits until the node has revision rev of s, and returns the session with
// the grant for the operator of that id.
func (c *Control) await(ctx context.Context, s *session, rev int, id string) (client.Session, error) {
	for {
		c.mu.Lock()
		v, changed := s.show(), s.changed
		installed, ended := s.m.Installed, s.m.Ended()
		slow := installed < rev && s.m.Rev >= rev && s.m.NotInstalled()
		v.Grant, v.Operator = string(s.grant), id
		v.STUN = slices.Clone(c.cfg.STUN)
		if installed >= rev && !ended && id != "" {
			v.Relays = c.operatorLegs(s, id)
		}
		c.mu.Unlock()
		switch {
		case ended:
			return client.Session{}, ending(v)
		case installed >= rev:
			return v, nil
		case slow:
			return client.Session{}, fail(http.StatusServiceUnavailable, machine.CodeNodeUnreachable, v.Why)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return client.Session{}, context.Cause(ctx)
		case <-c.ctx.Done():
			return client.Session{}, fail(http.StatusServiceUnavailable, "stopping", "control is stopping")
		}
	}
}

// ending is why a session could not be opened.
func ending(v client.Session) error {
	status := http.StatusBadGateway
	switch v.Code {
	case machine.CodeNodeUnreachable, machine.CodeNodeRefused, codeNoDatabase, codeNoAddress:
		status = http.StatusServiceUnavailable
	case machine.CodeNoPrekey, machine.CodeDeviceSilent:
		status = http.StatusGatewayTimeout
	case "":
		return fail(http.StatusConflict, keys.ReasonClosed, "the session was closed meanwhile")
	}
	return fail(status, v.Code, v.Why)
}

// closeFor ends s.
func (c *Control) closeFor(s *session, code, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	s.m.Close(now, code, why)
	c.act(s, now)
}

// open returns an open session that u may see.
func (c *Control) sessionFor(u User, id string) (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[id]
	if s == nil {
		return nil, errNotFound
	}
	if err := c.policy().Authorise(u, auth.Request{Action: auth.View, Device: s.dev.row.ID, Group: s.dev.row.Group}); err != nil {
		return nil, err
	}
	return s, nil
}

// mayChange decides whether u may extend or close s: his own, one that nobody is
// in, or, as an approver, any.
func (c *Control) mayChange(u User, s *session) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := auth.Request{Action: auth.Override, Device: s.dev.row.ID, Group: s.dev.row.Group}
	in := s.present()
	if len(in) == 0 || slices.ContainsFunc(in, func(o operator) bool { return o.user == u.Name }) {
		r.Action = auth.Change
	}
	return c.policy().Authorise(u, r)
}

// extendSession lets a session last for lifetime from now.
func (c *Control) extendSession(ctx context.Context, u User, id string, lifetime time.Duration) (client.Session, error) {
	s, err := c.sessionFor(u, id)
	if err != nil {
		return client.Session{}, err
	}
	if err := c.mayChange(u, s); err != nil {
		return client.Session{}, err
	}
	total := (c.cfg.Now().Sub(s.opened) + lifetime).Round(time.Second)
	if lifetime <= 0 || total > c.cfg.Longest+time.Second {
		return client.Session{}, fail(http.StatusUnprocessableEntity, "too_long", "a session lasts at most "+c.cfg.Longest.String())
	}
	if err := c.issue(s, c.prolonged(s, min(total, c.cfg.Longest))); err != nil {
		if errors.Is(err, errNoPrekey) {
			err = fail(http.StatusConflict, "opening", "the session is not open yet")
		}
		return client.Session{}, err
	}
	c.note(store.Audit{Who: u.Name, What: auditExtend, Device: s.dev.row.ID, Session: s.id, Node: s.name, Detail: total.String()})
	c.mu.Lock()
	rev, own := s.m.Rev, ""
	for _, o := range s.present() {
		if o.user == u.Name {
			own = o.id
		}
	}
	c.mu.Unlock()
	v, err := c.await(ctx, s, rev, own)
	if own == "" {
		v.Grant, v.STUN = "", nil
	}
	return v, err
}
