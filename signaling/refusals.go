package signaling

import "time"

// bucket bounds what is looked at before anything is verified.
type bucket struct {
	tokens float64
	last   time.Time
}

const (
	bucketRate  = 20 // messages a second
	bucketBurst = 40
)

func (b *bucket) allow(now time.Time) bool {
	b.tokens = min(bucketBurst, b.tokens+now.Sub(b.last).Seconds()*bucketRate)
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// refusal is one command that was refused.
type refusal struct {
	re       string // its id
	session  string // that its token names, verified
	verified bool   // control signed it: it deserves an answer of its own
	err      error
}

// tally counts the refusals with one code in one minute. The first is reported
// at once, the others together at the minute's end, so that who floods a
// device does not make it flood control.
type tally struct {
	since  time.Time
	said   int // replies that were sent at once
	more   int // noticed, not yet told to Observe
	unsaid int // not yet told to control
	last   refusal
}

const (
	// Control counts by the minute from the first that it is told of: the rest of a
	// minute must reach it within the same one.
	tallyFor   = 55 * time.Second
	maxTallies = 64 // codes in a minute
	maxAtOnce  = 10 // verified refusals with one code in a minute that are each answered at once
)

// refuse counts a refusal, and says so.
func (m *machine) refuse(now time.Time, r refusal) {
	code := codeOf(r.err, ReasonInternal)
	t := m.tallies[code]
	if t == nil {
		if len(m.tallies) >= maxTallies {
			return
		}
		t = &tally{since: now}
		m.tallies[code] = t
		m.do(noticeAction{Notice{At: now, Kind: NoticeRefused, Code: code, Session: r.session, Err: r.err, Count: 1}})
	} else {
		t.more++
	}
	t.last = r
	t.unsaid++
	if m.up && (t.said == 0 || r.verified && t.said < maxAtOnce) {
		t.said++
		m.say(code, t, 1)
	}
}

// refuseMany counts messages that were dropped unseen.
func (m *machine) refuseMany(now time.Time, n int) {
	if n <= 0 || m.stopping {
		return
	}
	m.refuse(now, refusal{err: refuse(ReasonFlood, "more messages than could be looked at")})
	if t := m.tallies[ReasonFlood]; t != nil {
		t.more += n - 1
		t.unsaid += n - 1
	}
}

// say replies with n of the refusals that were not told.
func (m *machine) say(code string, t *tally, n int) {
	t.unsaid -= n
	h := m.hint()
	st := Status{V: Version, VPN: h.VPN, IP: h.IP, Session: t.last.session, Re: t.last.re, Code: code, Count: n}
	h.Session, h.Re, h.Code = st.Session, st.Re, code
	m.send(sendAction{typ: typReply, st: st, hint: h})
}

// unsaid tells, when the line is back, what could not be told.
func (m *machine) unsaid(now time.Time) {
	for code, t := range m.tallies {
		if t.said == 0 && t.unsaid > 0 {
			t.said++
			m.say(code, t, t.unsaid)
		}
	}
}

// count ends the minutes that are over.
func (m *machine) count(now time.Time) {
	for code, t := range m.tallies {
		if now.Before(t.since.Add(tallyFor)) {
			continue
		}
		if t.more > 0 {
			m.do(noticeAction{Notice{At: now, Kind: NoticeRefused, Code: code, Session: t.last.session, Err: t.last.err, Count: t.more}})
			t.more = 0
		}
		if t.unsaid > 0 && m.up {
			m.say(code, t, t.unsaid)
		}
		if t.unsaid > 0 {
			t.since, t.said = now, 0
			continue
		}
		delete(m.tallies, code)
	}
}
