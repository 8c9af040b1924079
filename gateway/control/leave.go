package control

import (
	"net/http"
	"slices"
	"strings"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/api"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
)

// closeSession has somebody out of a session: the caller, one whom he names, or all.
// With the last one the session ends. Whoever is out already stays out.
func (c *Control) closeSession(u User, id string, whom api.Whom) (client.Session, error) {
	s, err := c.sessionFor(u, id)
	if err != nil {
		return client.Session{}, err
	}
	c.mu.Lock()
	out, err := c.out(u, s, whom)
	row := store.Audit{Who: u.Name, What: auditLeave, Device: s.dev.row.ID, Session: s.id, Node: s.name, Detail: others(u, out)}
	last := len(out) == len(s.present())
	if last && err == nil && !s.m.Ended() {
		row.What = auditClose
		c.note(row) // before what comes of it
		now := c.cfg.Now()
		s.m.Close(now, "", "")
		c.act(s, now)
	}
	nothing := err != nil || row.What == auditLeave && (s.m.Ended() || len(out) == 0)
	v := s.show()
	c.mu.Unlock()
	switch {
	case nothing:
		return v, err
	case last:
		c.written(c.ctx, s)
	default:
		var ids []string
		for _, o := range out {
			ids = append(ids, o.id)
		}
		if err := c.issue(s, change{remove: ids}); err != nil {
			return client.Session{}, err
		}
		c.note(row)
		c.closeEmpty(s)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.show(), nil
}

// out is who of those in s whom means, if u may have them out; mu is held.
func (c *Control) out(u User, s *session, whom api.Whom) ([]operator, error) {
	in := s.present()
	may := func(ok bool) error {
		r := auth.Request{Action: auth.Override, Device: s.dev.row.ID, Group: s.dev.row.Group}
		if ok {
			r.Action = auth.Change
		}
		return c.policy().Authorise(u, r)
	}
	his := func(o operator) bool { return o.user == u.Name }
	switch {
	case whom.All:
		return in, may(!slices.ContainsFunc(in, func(o operator) bool { return !his(o) }))
	case whom.Operator != "":
		i := slices.IndexFunc(s.operators, func(o operator) bool { return o.id == whom.Operator })
		if i < 0 {
			return nil, fail(http.StatusNotFound, "not_found", "no such operator in the session")
		}
		o := s.operators[i]
		if !o.removed.IsZero() {
			return nil, may(his(o))
		}
		return []operator{o}, may(his(o))
	case len(in) == 0:
		return nil, may(true)
	case slices.ContainsFunc(s.operators, his): // now, or before
		return slices.DeleteFunc(in, func(o operator) bool { return !his(o) }), may(true)
	}
	if err := may(false); err != nil {
		return nil, err
	}
	return nil, fail(http.StatusConflict, "not_in_session", "you are not in it; what closes it for everybody is all=true, boothctl close --all")
}

// others names those of list who are not u, for the audit.
func others(u User, list []operator) string {
	var names []string
	for _, o := range list {
		if o.user != u.Name && !slices.Contains(names, o.user) {
			names = append(names, o.user)
		}
	}
	return strings.Join(names, ", ")
}

// closeEmpty ends s if nobody is left in it: the last two may have left at once, each
// because the other was there.
func (c *Control) closeEmpty(s *session) {
	c.mu.Lock()
	empty := len(s.present()) == 0 && !s.m.Ended()
	c.mu.Unlock()
	if empty {
		c.closeFor(s, "", "")
		c.written(c.ctx, s)
	}
}
