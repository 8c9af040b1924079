package path

import (
	"slices"
	"time"
)

// Step takes the time and the facts, and says what is to be done.
func (m *Machine[R]) Step(now time.Duration, f Facts) Actions {
	var a Actions
	now = max(now, 1)
	m.next = 0
	if m.primary != nil && m.stepped != 0 {
		m.primary.spent += now - m.stepped
	}
	m.stepped = now
	for _, w := range m.ways {
		m.wake(w.step(now))
		if w.Check && w.state != Absent {
			w.judge(now, m.last(w), w == m.primary, m.tooSlow(w))
		}
	}
	m.judgePackets(now, f)
	m.judgeQuality(now)
	m.choose(now)
	m.askPrimary(now, f)
	a.Echo, m.ask = m.ask, false
	m.also = m.second(now, f)
	a.Checks = m.checksDue(now, f)
	m.sweep()
	paths := [2]R{}
	paths[0], paths[1] = m.Paths()
	a.Changed = paths != m.told
	m.told = paths
	return a
}

// wake makes Step due at that time at the latest; one that has passed is never.
func (m *Machine[R]) wake(at time.Duration) {
	if at > m.stepped {
		m.next = sooner(m.next, at)
	}
}

// last reports whether no other way works, or may work.
func (m *Machine[R]) last(w *way[R]) bool {
	return !slices.ContainsFunc(m.ways, func(o *way[R]) bool { return o != w && (o.state == Good || o.state == Doubted) })
}

// unanswered reports whether packets stay unanswered for d, or two round trips of
// the primary way where that is more.
func (m *Machine[R]) unanswered(now time.Duration, f Facts, d time.Duration) bool {
	if f.Waiting == 0 {
		return false
	}
	if m.primary != nil {
		d = max(d, min(2*m.primary.rtt+Step, lateMost))
	}
	if now < f.Waiting+d {
		m.wake(f.Waiting + d)
		return false
	}
	return true
}

// judgePackets doubts a primary way that cannot be checked, and clears it again.
func (m *Machine[R]) judgePackets(now time.Duration, f Facts) {
	p := m.primary
	if p == nil || p.Check || p.state == Absent {
		return
	}
	switch p.state {
	case Good:
		if m.unanswered(now, f, Doubt) {
			p.become(now, Doubted)
			m.startTurns(now)
		}
	case Doubted:
		if f.Waiting != 0 {
			return
		}
		if p.heard > p.since {
			p.become(now, Good)
			return
		}
		m.wake(p.since + Patience)
		if w := m.loudest(p.since); w != nil && now >= p.since+Patience {
			m.win(now, w)
		}
	}
}

// loudest is the way of which the newest packet came, after since.
func (m *Machine[R]) loudest(since time.Duration) (best *way[R]) {
	for _, w := range m.ways {
		if w.state != Absent && w.heard > since && (best == nil || w.heard > best.heard) {
			best = w
		}
	}
	return best
}

// Proved takes an echo that came back. It reports whether packets now go by
// another way than before.
func (m *Machine[R]) Proved(now time.Duration) bool {
	m.echoed = now
	p := m.primary
	if p == nil || p.state == Absent {
		return false
	}
	before := m.told
	switch {
	case p.state == Good:
		// One that passes its checks but nothing else.
		if m.copied != 0 && now >= m.copied+Doubt && p.heard < m.copied && p.Check {
			if w := m.loudest(m.copied); w != nil && w.class() <= 1 {
				p.leave(now, Silent, true)
				m.enthrone(now, w)
			}
		}
	case p.state == Trying || !p.Check:
		w := m.loudest(p.since)
		if w == nil || p.heard > p.since {
			w = p
		}
		if w != p || p.state != Left {
			m.win(now, w)
		}
	}
	m.told[0], m.told[1] = m.Paths()
	return m.told != before
}

// win ends a race: w answers.
func (m *Machine[R]) win(now time.Duration, w *way[R]) {
	if w != m.primary {
		m.supersede()
		m.enthrone(now, w)
	}
	w.become(now, Good)
	if !w.Check {
		m.also, m.former, m.rising = nil, nil, nil
	}
}

// choose replaces the primary way where another is surer or more wanted.
func (m *Machine[R]) choose(now time.Duration) {
	if m.primary != nil && m.primary.state == Absent {
		m.primary = nil
	}
	if m.primary == nil {
		m.rising = nil
		if w := m.surest(nil); w != nil {
			m.enthrone(now, w)
			m.due = now + Patience
			m.turn = slices.Index(m.ways, w)
		}
	}
	p := m.primary
	if p == nil {
		return
	}
	if p.state == Good {
		m.rise(now)
		return
	}
	m.rising = nil
	w := m.surest(p)
	switch {
	case w == nil || w.class() > 1 || w.class() >= p.class():
	case p.state == Left:
		m.enthrone(now, w)
	case p.state == Trying:
		if m.wake(p.since + Patience); now >= p.since+Patience {
			m.enthrone(now, w)
		}
	}
}

// surest is the surest of the ways but one, the more wanted of two.
func (m *Machine[R]) surest(but *way[R]) (best *way[R]) {
	for _, w := range m.ways {
		switch {
		case w == but || w.state == Absent || but != nil && w.Route == but.Route:
		case best == nil || w.class() < best.class():
			best = w
		case w.class() == 0 && best.class() == 0 && w.rank() < best.rank():
			best = w
		}
	}
	return best
}

// rise moves up to a more wanted way: first both carry.
func (m *Machine[R]) rise(now time.Duration) {
	p := m.primary
	var best *way[R]
	for _, w := range m.ways {
		if w.rank() >= p.rank() || w.Route == p.Route {
			continue
		}
		tried := w == m.rising || now >= w.probe
		if w.state == Good || w.state == Trying && !w.Check && p.Kind == Relay && tried {
			if best == nil || w.rank() < best.rank() {
				best = w
			}
		} else if w.state == Trying && !w.Check && p.Kind == Relay {
			m.wake(w.probe)
		}
	}
	if best != m.rising {
		m.rising, m.rose = best, now
		m.ask = m.ask || best != nil && !best.Check
	}
	w := m.rising
	switch {
	case w == nil:
	case w.Check:
		// What is still under way from an address that the far end has left is heard
		// too, but no relay is left so.
		if w.proved >= m.rose && w.passes > 0 || w.heard > m.rose && p.Kind == Relay {
			m.enthrone(now, w)
		}
	case w.heard > m.rose && m.echoed > m.rose:
		w.become(now, Good)
		m.enthrone(now, w)
	case now >= m.rose+2*Patience:
		m.rising = nil
		w.retry = min(max(2*w.retry, probeFirst), probeMost)
		w.probe = now + w.retry
		m.wake(w.probe)
	default:
		m.wake(m.rose + 2*Patience)
	}
}

// enthrone makes w the primary way; the one before gets its copy for a while.
func (m *Machine[R]) enthrone(now time.Duration, w *way[R]) {
	if m.primary == w {
		return
	}
	m.former, m.until = m.primary, now+Overlap
	m.primary, m.since = w, now
	m.rising, m.copied, m.asked = nil, 0, 0
	w.calm = now
	if f := m.former; f != nil && !f.Check && f.state != Absent && f != w {
		f.become(now, Trying)
		f.since = now
	}
}

// startTurns lets the next way join at once.
func (m *Machine[R]) startTurns(now time.Duration) {
	m.due = now
	m.turn = max(slices.Index(m.ways, m.primary), 0)
}

// second is the way that gets a copy, if any.
func (m *Machine[R]) second(now time.Duration, f Facts) *way[R] {
	p := m.primary
	if p == nil {
		return nil
	}
	silent := m.unanswered(now, f, Doubt)
	if !silent {
		m.copied = 0
	}
	switch {
	case m.rising != nil:
		return m.rising
	case p.state != Good || silent:
		w := m.surest(p)
		if w == nil || w.class() > 1 || p.state == Trying {
			w = m.nextTurn(now)
		}
		if w != nil && silent && m.copied == 0 {
			m.copied = now
		}
		if w != nil && p.Check { // when all is well again, for a while
			m.former, m.until = w, now+Overlap
		}
		return w
	case m.asked != 0:
		return m.surest(p)
	case m.former != nil && m.former.state != Absent && now < m.until:
		m.wake(m.until)
		return m.former
	}
	m.former = nil
	return nil
}

// nextTurn is the way that joins while nothing answers: another each Patience.
func (m *Machine[R]) nextTurn(now time.Duration) *way[R] {
	w := m.also
	if w == m.primary || w != nil && w.state == Absent {
		w = nil
	}
	var others int
	for _, o := range m.ways {
		if o.state != Absent && o.Route != m.primary.Route {
			others++
		}
	}
	if others == 0 {
		return nil
	}
	if now < m.due {
		m.wake(m.due)
		return w
	}
	m.due = now + Patience
	m.wake(m.due)
	for range m.ways {
		m.turn = (m.turn + 1) % len(m.ways)
		if o := m.ways[m.turn]; o.state != Absent && o.Route != m.primary.Route {
			return o
		}
	}
	return w
}

// sweep forgets the address where the far end was found, once packets go elsewhere.
func (m *Machine[R]) sweep() {
	m.ways = slices.DeleteFunc(m.ways, func(w *way[R]) bool {
		return w.ID == found && w != m.primary && w != m.also && w != m.rising && w != m.former
	})
}
