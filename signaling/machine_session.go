package signaling

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// open starts a session: with a grant, or, bare, without one.
func (m *machine) open(now, at time.Time, c *Command, g *claims) {
	m.runs++
	o := &opened{n: m.runs, wanted: c.Server, bare: g == nil, received: at, re: c.ID}
	o.show = Status{VPN: Connecting}
	o.step(Received, at)
	m.cur = o
	server := c.Server
	if g != nil {
		o.bind(now, g)
		server = g.Far.Node
	}
	m.do(startAction{n: o.n, id: o.id, server: server, grant: c.Token})
	// Whether the Device accepts the grant is known in a moment: until then
	// there is nothing to tell.
	// Messages wait for each other's acknowledgement, a round trip: this one goes
	// early enough to be out of the way of ready, which is two round trips off.
	m.replyBy(now.Add(firstFor), c.ID)
	m.changedBy(now, now.Add(gatherFor))
}

// bind gives the session what its first grant says.
func (o *opened) bind(now time.Time, g *claims) {
	o.id, o.rev, o.sum = g.Session, g.Rev, g.sum
	o.address(g)
	o.step(Authorised, now)
}

// address takes the device's address from a grant.
func (o *opened) address(g *claims) {
	if len(g.Addresses) > 0 && g.Addresses[0].Zone() == "" {
		o.show.IP = g.Addresses[0]
	}
}

// higher hands a later rev, or the first one of a bare session, to whoever
// waits for it.
func (m *machine) higher(now time.Time, c *Command, g *claims) {
	o := m.cur
	o.rev, o.sum = g.Rev, g.sum
	o.address(g)
	if !m.settle(o, g.Re, c.Token, nil) {
		m.do(grantAction{o.n, c.Token})
	}
	m.replySoon(now, c.ID)
	o.re = c.ID
	m.changed(now)
}

// close begins the end of the open session.
func (m *machine) close(now time.Time, re string, cause error) {
	o := m.cur
	o.closing, o.cause, o.re = true, cause, re
	o.show.VPN = Disconnecting
	o.step(Closing, now)
	if o.id != "" {
		m.over.add(o.id)
	}
	m.abandon(o, cause)
	m.do(stopAction{o.n, cause})
	m.replyNow(now, re)
	m.changed(now)
}

// returned takes what the Handler of run n returned.
func (m *machine) returned(now time.Time, n int, err error) {
	o := m.cur
	if o == nil || o.n != n {
		return
	}
	if !o.closing && o.untouched(err) {
		m.refused(now, o, err)
		return
	}
	switch {
	case o.closing:
		o.show.VPN = Disconnected
		if err != nil && !expected(err, o.cause) {
			o.show.Code, o.show.Why = codeOf(err, ReasonInternal), clip(err.Error())
		}
		o.step(Closed, now)
	case err == nil:
		o.show.VPN = Disconnected
		o.step(Closed, now)
	default:
		o.show.VPN, o.show.Code, o.show.Why = Failed, codeOf(err, ReasonInternal), clip(err.Error())
		o.failed(now, err)
	}
	m.abandon(o, &Error{Reason: ReasonClosed})
	o.show.IP = netip.Addr{}
	m.last = m.state()
	if o.id != "" {
		m.over.add(o.id)
		m.do(endAction{o.id})
		m.remember(ending{rev: o.rev, sum: o.sum, st: m.last})
	}
	m.cur = nil
	m.replyNow(now, o.re)
	m.changed(now)
	if w := m.wait; w != nil {
		m.wait = nil
		m.commandUp(now, w.at, w.c)
	}
}

// refused takes back a session whose grant the Device did not accept: the
// device is as it was before, and the session is not over.
func (m *machine) refused(now time.Time, o *opened, err error) {
	m.remember(ending{rev: o.rev, sum: o.sum, st: Status{Session: o.id}, err: err})
	m.abandon(o, err)
	m.cur, m.reply = nil, pending{}
	m.refuse(now, refusal{re: o.re, session: o.id, verified: true, err: err})
	m.changed(now)
}

// remember keeps how a session ended.
func (m *machine) remember(e ending) {
	if len(m.final) == keepFinal {
		m.final = m.final[1:]
	}
	m.final = append(m.final, e)
}

// untouched reports whether the grant was refused at the door, so that nothing
// opened. Where its prekey was stale, control asks for a fresh one and sends
// the same session again.
func (o *opened) untouched(err error) bool {
	if o.id == "" || slices.ContainsFunc(o.show.Ladder, func(s Step) bool { return s.Stage == Keyed }) {
		return false
	}
	switch codeOf(err, "") {
	case "unknown_prekey", "used_prekey", "wrong_boot", "node_not_allowed", "port_not_allowed":
		return true
	}
	return false
}

// ended returns how the session of g ended, if it was with just this grant.
func (m *machine) ended(g *claims) *ending {
	for i := range m.final {
		if e := &m.final[i]; e.st.Session == g.Session && e.rev == g.Rev && e.sum == g.sum {
			return e
		}
	}
	return nil
}

// reach takes a stage from the Handler of run n.
func (m *machine) reach(now time.Time, n int, st Stage) {
	o := m.cur
	if o == nil || o.n != n || o.closing {
		return
	}
	switch st {
	case Keyed, Socket, Candidates, Handshake, Proved, Ready:
	default:
		return
	}
	fresh := o.step(st, now)
	switch {
	case st == Ready:
		if o.show.VPN == Connecting {
			o.show.VPN = Connected
		}
		m.replyNow(now, o.re)
		if fresh {
			m.changed(now)
		}
	case fresh:
		m.replySoon(now, o.re)
	}
}

// report takes how the tunnel is from the Handler of run n.
func (m *machine) report(now time.Time, n int, st Status) {
	o := m.cur
	if o == nil || o.n != n {
		return
	}
	o.take(st)
	was := o.show
	switch st.VPN {
	case Connecting, Connected, Degraded:
		if !o.closing {
			o.show.VPN = st.VPN
		}
	}
	if st.IP.IsValid() && st.IP.Zone() == "" {
		o.show.IP = st.IP
	}
	if st.Path == "" || validCode(st.Path) {
		o.show.Path = st.Path
	}
	if st.Code == "" || validCode(st.Code) {
		o.show.Code = st.Code
	}
	o.show.Why, o.show.RTT = clip(st.Why), max(0, min(st.RTT, maxMicros*time.Microsecond))
	if o.show.VPN != was.VPN || o.show.IP != was.IP || o.show.Path != was.Path || o.show.Code != was.Code || o.show.Why != was.Why {
		m.changed(now)
	}
}

// expected reports whether err only says that the session was told to end.
func expected(err, cause error) bool {
	return errors.Is(err, context.Canceled) || cause != nil && errors.Is(err, cause)
}

// clip makes s fit for a status.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > maxWhyOurs {
		s = strings.ToValidUTF8(s[:maxWhyOurs], "")
	}
	return s
}

// downFor is the cause of a session that is told to end.
func downFor(why string) error {
	e := &Error{Reason: ReasonDown}
	if why != "" {
		e.Err = errors.New(clip(why))
	}
	return e
}
