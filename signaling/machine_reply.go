package signaling

import (
	"net/netip"
	"slices"
	"time"
)

// state is the whole of what there is to say.
func (m *machine) state() Status {
	o := m.cur
	if o == nil {
		return m.last
	}
	st := o.show
	st.Session, st.Rev, st.Re = o.id, o.rev, o.re
	st.Ladder = slices.Clone(st.Ladder)
	if st.VPN != Connected && st.VPN != Degraded {
		st.IP = netip.Addr{}
	}
	return st
}

// hint is what old readers see beside a token.
func (m *machine) hint() Status {
	st := m.state()
	return Status{VPN: st.VPN, IP: st.IP, Session: st.Session}
}

func (m *machine) send(a sendAction) {
	if m.up {
		m.do(a)
	}
}

// changed has the document published: at once, but not too often.
func (m *machine) changed(now time.Time) { m.changedBy(now, now) }

// changedBy has the document published at the given time, or before if
// something else changes.
func (m *machine) changedBy(now, at time.Time) {
	if least := m.docAt.Add(docSpacing); !m.docAt.IsZero() && at.Before(least) {
		at = least
	}
	switch {
	case !m.up: // it is published when the line comes up
	case !now.Before(at):
		m.publish(now)
	case m.docDue.IsZero() || at.Before(m.docDue):
		m.docDue = at
	}
}

// publish sends the document.
func (m *machine) publish(now time.Time) {
	st := m.state()
	st.V, st.Caps, st.Version = Version, m.cfg.Caps, m.cfg.Version
	st.Next, st.Roots = m.cfg.Due, m.d.RootsN()
	if m.cfg.NAT != nil {
		if class := m.cfg.NAT(); validNAT(class) {
			st.NAT = class
		}
	}
	if m.cfg.Checks != nil {
		st.Checks = ourChecks(m.cfg.Checks())
	}
	hint := m.hint()
	hint.Code = st.Code
	m.send(sendAction{typ: typStatus, st: st, hint: hint, retain: true})
	m.docAt, m.docDue = now, time.Time{}
	if m.cur != nil && m.up {
		m.cur.say(now)
	}
	m.renewAt = now.Add(m.cfg.Due * 4 / 5)
}

// replySoon replies to the command called re once the next stages are in.
func (m *machine) replySoon(now time.Time, re string) { m.replyBy(now.Add(gatherFor), re) }

func (m *machine) replyBy(at time.Time, re string) {
	if m.reply.due.IsZero() || m.reply.re != re {
		m.flush()
		m.reply = pending{at, re}
	}
}

// replyNow replies to the command called re.
func (m *machine) replyNow(now time.Time, re string) {
	m.replySoon(now, re)
	m.flush()
}

// flush sends the reply that is being gathered.
func (m *machine) flush() {
	if m.reply.due.IsZero() {
		return
	}
	re := m.reply.re
	m.reply = pending{}
	m.answer(re, m.state())
}

// answer sends a reply about st.
func (m *machine) answer(re string, st Status) {
	st.V, st.Re = Version, re
	hint := m.hint()
	hint.Session, hint.Re, hint.Code = st.Session, re, st.Code
	m.send(sendAction{typ: typReply, st: st, hint: hint})
}
