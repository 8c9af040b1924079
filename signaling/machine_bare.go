package signaling

import (
	"slices"
	"time"
)

// bareUp makes the device request a session, where the host allows it.
func (m *machine) bareUp(now, at time.Time, c *Command) {
	o := m.cur
	switch {
	case len(m.cfg.Bare) == 0:
		m.refuse(now, refusal{re: c.ID, err: refuse(ReasonUnsigned, "a bare vpn_up is no authority here")})
	case !slices.Contains(m.cfg.Bare, c.Server):
		m.refuse(now, refusal{re: c.ID, err: refuse(ReasonNodeNotAllowed, "a bare vpn_up for a node that is not configured")})
	case o == nil:
		m.open(now, at, c, nil)
	case o.closing:
		m.hold(now, at, c)
	case o.bare && o.wanted == c.Server:
		m.replySoon(now, c.ID)
	default:
		m.refuse(now, refusal{re: c.ID, err: refuse(ReasonBusy, "another session is open")})
	}
}

// bareDown ends what a bare up began, and nothing else.
func (m *machine) bareDown(now time.Time, c *Command) {
	o := m.cur
	if m.wait != nil && len(m.wait.c.Token) == 0 {
		m.wait = nil
	}
	named := o != nil && (c.Session == "" || c.Session == o.id)
	switch {
	case o != nil && o.bare && named && !o.closing:
		m.close(now, c.ID, downFor(""))
	case o != nil && o.bare && named, o == nil && len(m.cfg.Bare) > 0:
		m.replySoon(now, c.ID)
	default:
		m.refuse(now, refusal{re: c.ID, err: refuse(ReasonUnsigned, "a bare vpn_down for what no bare vpn_up began")})
	}
}
