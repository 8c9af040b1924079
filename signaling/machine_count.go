package signaling

import "time"

// countSpacing is how far apart messages are that only bring figures: for people and
// the record, who need no more, and thousands of sessions may be open.
const countSpacing = 30 * time.Second

// A count is what was said of a session's figures last.
type count struct {
	rx, tx uint64
	at     time.Time
}

// counted takes the figures of a session from the Handler of run n, none of which
// falls.
func (m *machine) counted(now time.Time, n int, st Status) {
	o := m.cur
	if o == nil || o.n != n {
		return
	}
	o.take(st)
	s := &o.show
	open := !o.closing && (s.VPN == Connected || s.VPN == Degraded)
	if !m.up || !open || s.Rx == o.told.rx && s.Tx == o.told.tx || now.Before(o.told.at.Add(countSpacing)) {
		return
	}
	short := m.state()
	short.Ladder, short.Re = nil, ""
	m.answer("", short)
	o.say(now)
}

// take keeps figures to be said with whatever is said next.
func (o *opened) take(st Status) {
	s := &o.show
	s.Rx, s.Tx = max(s.Rx, min(st.Rx, maxBytes)), max(s.Tx, min(st.Tx, maxBytes))
	s.Direct, s.Relay = max(s.Direct, min(st.Direct, maxSpent)), max(s.Relay, min(st.Relay, maxSpent))
}

// say notes that the present figures are said.
func (o *opened) say(now time.Time) { o.told = count{o.show.Rx, o.show.Tx, now} }
