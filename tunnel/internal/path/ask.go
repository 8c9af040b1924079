package path

import "time"

// Quick is how long packets may stay unanswered before somebody should ask whether
// the primary way still works, 0 while nothing is known of its round trip.
func (m *Machine[R]) Quick() time.Duration {
	if m.primary == nil || m.primary.rtt == 0 {
		return 0
	}
	return QuickFor(m.primary.rtt)
}

// QuickFor is Quick of a way with that round trip.
func QuickFor(rtt time.Duration) time.Duration { return min(max(2*rtt+quickMore, quickLeast), Doubt) }

// askPrimary has the primary way checked when packets stay unanswered, or when the far
// end sends by another way too, and ends the copies once that check is back. One that
// is lost makes the way doubted.
func (m *Machine[R]) askPrimary(now time.Duration, f Facts) {
	p := m.primary
	if p == nil || !p.Check || p.state != Good || p.rtt == 0 {
		m.asked = 0
		return
	}
	if m.asked != 0 {
		if p.proved < m.asked {
			return
		}
		m.asked, m.deaf = 0, now+deafFor
		m.asks = max(m.asks, now) + askPause
	}
	if w := m.surest(p); w == nil || w.class() > 1 {
		return
	}
	if m.hinted(now) {
		m.askNow(now)
		return
	}
	if f.Waiting == 0 || p.proved >= f.Waiting || m.asks > f.Waiting+askMost {
		return
	}
	if at := f.Waiting + m.Quick(); now < at {
		m.wake(at)
	} else {
		m.askNow(now)
	}
}

// askNow begins to ask.
func (m *Machine[R]) askNow(now time.Duration) {
	m.asked, m.primary.sent = now, 0 // it is checked at once
}

// hinted reports whether the far end, whose packets alone may be lost, has come by
// another way: it doubts the primary one. After an answer, and after a change of the
// way, its copies say nothing new for deafFor.
func (m *Machine[R]) hinted(now time.Duration) bool {
	after := max(m.deaf, m.since+deafFor)
	for _, w := range m.ways {
		if w != m.primary && w.heard > after && now >= after && w.state != Absent {
			return true
		}
	}
	return false
}
