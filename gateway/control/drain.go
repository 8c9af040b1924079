package control

import (
	"context"
	"net/http"
	"slices"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
)

// DrainNode implements api.Backend. What is to be moved watchNodes moves.
func (b backend) DrainNode(_ context.Context, u auth.User, name string, r client.DrainRequest) (client.Node, error) {
	if err := b.may(u, auth.Manage); err != nil {
		return client.Node{}, err
	}
	c := b.c
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[name]
	if n == nil {
		return client.Node{}, fail(http.StatusNotFound, "unknown_node", "no such node")
	}
	n.row.Draining, n.row.Moving = r.Draining, r.Draining && r.Move
	c.keep(n)
	code := map[bool]string{true: "draining", false: "undrained"}[r.Draining]
	if n.row.Moving {
		code = "moving"
	}
	c.note(store.Audit{Who: u.Name, What: auditDrain, Node: name, Code: code})
	v := n.show()
	v.Leaving = c.leaving(n)
	return v, nil
}

// leaving counts the sessions that n carries on their way elsewhere; mu is held.
func (c *Control) leaving(n *node) (count int) {
	for _, s := range c.sessions {
		if s.m.Moving() && slices.Contains(s.former, n) {
			count++
		}
	}
	return count
}

// grantFor returns the latest grant of a session for an operator of u's in it.
func (c *Control) grantFor(u User, id, operator string) (client.Session, error) {
	s, err := c.sessionFor(u, id)
	if err != nil {
		return client.Session{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.m.Ended() || s.grant == nil {
		return client.Session{}, fail(http.StatusConflict, keys.ReasonClosed, "the session is over")
	}
	for _, o := range s.present() {
		if o.id == operator && o.user == u.Name {
			v := s.show()
			v.Grant, v.Operator, v.Relays, v.STUN = string(s.grant), o.id, c.operatorLegs(s, o.id), slices.Clone(c.cfg.STUN)
			return v, c.policy().Authorise(u, auth.Request{Action: auth.Change, Device: s.dev.row.ID, Group: s.dev.row.Group})
		}
	}
	return client.Session{}, fail(http.StatusForbidden, "forbidden", "no such operator of yours in the session")
}
