package control

import (
	"net/http"
	"slices"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
	"github.com/boothwire/boothwire/keys"
)

// capEndToEnd is what a device's status says that can have sessions with an
// operator's own tool.
const capEndToEnd = "end_to_end"

// renewEvery is how often a renewal is made anew; one that is asked for sooner is the
// same again.
const renewEvery = 10 * time.Second

// renewal is the latest one of a session.
type renewal struct {
	token   string
	rev     int
	longest time.Duration
	at      time.Time
}

// endToEnd makes d's session with an operator's own tool, which lasts as long as it
// is renewed, longest in all; mu is held.
func (c *Control) endToEnd(d *device, longest time.Duration) (*session, error) {
	unsupported := func(why string) error {
		return fail(http.StatusUnprocessableEntity, keys.ReasonUnsupported, why)
	}
	if !slices.Contains(d.row.Caps, capEndToEnd) {
		return nil, unsupported("the device has not said that it can have an end-to-end session")
	}
	// What could not be renewed would end in the middle of the work.
	probe := keys.Renew{Session: keys.NewID(), Device: d.row.ID, Rev: 1 << 20, Lifetime: longest, End: c.cfg.Now()}
	if _, err := keys.SignRenew(c.signer, probe); err != nil {
		return nil, unsupported("no renewal can be signed for it: " + codeOf(err, "internal"))
	}
	s := c.newSession(d, nil, min(c.cfg.Renewal, longest))
	s.endToEnd, s.longest, s.m.Alone = true, longest, true
	return s, nil
}

// between makes the grant's far end the only operator's tool.
func (d *draft) between() error {
	for _, o := range d.operators {
		if o.removed.IsZero() {
			d.grant.Far = keys.FarEnd{Key: o.key, Proof: o.address}
			return nil
		}
	}
	return fail(http.StatusConflict, keys.ReasonClosed, "nobody is in the session")
}

// prolonged is the change that lets s last for total since its opening.
func (c *Control) prolonged(s *session, total time.Duration) change {
	if !s.endToEnd {
		return change{lifetime: total}
	}
	return change{longest: total, lifetime: min(c.granted(s, c.cfg.Now()), total)}
}

// granted is how long s lasts since its opening when it is renewed now.
func (c *Control) granted(s *session, now time.Time) time.Duration {
	return client.SecondsOf(now.Sub(s.opened) + c.cfg.Renewal).Duration()
}

// theirs returns the open end-to-end session that u opened.
func (c *Control) theirs(u User, id string) (*session, error) {
	s, err := c.sessionFor(u, id)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.user.Name != u.Name || s.bare:
		return nil, fail(http.StatusForbidden, "forbidden", "only who opened the session may do this")
	case !s.endToEnd:
		return nil, fail(http.StatusUnprocessableEntity, keys.ReasonUnsupported, "the session goes through a node")
	case s.m.Ended() || !c.cfg.Now().Before(s.m.Ends):
		return nil, fail(http.StatusConflict, keys.ReasonClosed, "the session is over")
	}
	return s, c.policy().Authorise(u, auth.Request{Action: auth.Change, Device: s.dev.row.ID, Group: s.dev.row.Group})
}

// renewSession lets an end-to-end session go on.
func (c *Control) renewSession(u User, id string) (client.Session, error) {
	s, err := c.theirs(u, id)
	if err != nil {
		return client.Session{}, err
	}
	s.issuing.Lock()
	defer s.issuing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	switch {
	case s.m.Ended() || !now.Before(s.m.Ends):
		return client.Session{}, fail(http.StatusConflict, keys.ReasonClosed, "the session is over")
	case s.m.Rev == 0:
		return client.Session{}, fail(http.StatusConflict, "opening", "the session is not open yet")
	case !c.leads(): // it waited for a revision that the database did not take
		return client.Session{}, fail(http.StatusServiceUnavailable, codeNoLead, "another process may have the lead by now")
	}
	if r := &s.renewal; r.rev != s.m.Rev || r.longest != s.longest || now.Sub(r.at) >= renewEvery {
		lifetime := max(min(c.granted(s, now), s.longest), s.lifetime)
		ends := wholeSecond(s.opened.Add(lifetime))
		token, err := keys.SignRenew(c.signer, keys.Renew{Session: s.id, Device: s.dev.row.ID, Rev: s.m.Rev, Lifetime: lifetime, End: ends})
		if err != nil {
			return client.Session{}, err
		}
		*r = renewal{string(token), s.m.Rev, s.longest, now}
		s.lifetime = lifetime
		s.m.Renewed(ends)
		c.act(s, now)
	}
	v := s.show()
	v.Grant, v.STUN, v.Renewal = string(s.grant), slices.Clone(c.cfg.STUN), s.renewal.token
	for _, o := range s.present() {
		v.Operator, v.Relays = o.id, c.operatorLegs(s, o.id)
	}
	return v, nil
}
