package signaling

import (
	"crypto/sha256"
	"time"
)

// machine decides what a device does with the commands that come: it is pure.
// Time, messages and what the Handler says come in, actions go out, and it
// starts no goroutine and reads no clock. Verification is the Device's: a
// question to it, asked at most as often as the bucket lets.
//
//	             up, verified, or bare and allowed
//	    ┌──────┐ ────────────────────────────────► ┌────────────┐ ──┐ higher rev: to the Handler
//	    │ idle │                                   │    open    │   │ same again: its reply again
//	    └──────┘ ◄──────────────────────────────── └────────────┘ ◄─┘ another session: busy
//	      ▲  ▲     the Handler returns by itself         │
//	      │  │                                           │ down, verified, or bare where a bare
//	      │  │                                           ▼ up began it; Serve ends
//	      │  └──────────────────────────────────── ┌────────────┐
//	down: │    the Handler returns; an up that     │  closing   │ ──┐ another session: waits, one
//	never └──┐ came meanwhile starts next          └────────────┘ ◄─┘ of them; same session: closed
//	opens    │
//
// A session that is over never opens again: its id is remembered, also that of
// a down that came before its up.
type machine struct {
	d   Device
	cfg Config

	out      []action
	up       bool // the line is
	stopping bool // Serve ends: nothing opens any more
	runs     int  // Handlers started so far

	cur   *opened           // nil: idle
	wait  *waiting          // what comes after cur, while that closes
	last  Status            // how the device is while idle
	over  ring              // sessions that are over
	final []ending          // how the latest of them ended
	dead  ring              // nonces of requests that were given up
	lists [sha256.Size]byte // of the roots that came into force last

	bucket  bucket
	tallies map[string]*tally

	reply   pending   // gathered
	docAt   time.Time // when the latest document went out
	docDue  time.Time // zero: nothing has changed
	renewAt time.Time
}

// opened is the session that a Handler serves.
type opened struct {
	n        int // of its run
	id       string
	wanted   string // the node that a bare up named
	bare     bool   // a bare up began it
	rev      int
	sum      [sha256.Size]byte // of that rev's payload
	received time.Time
	re       string // id of the latest command about it
	closing  bool
	cause    error
	show     Status     // VPN, IP, Ladder and what the Handler reports
	told     count      // of its figures
	requests []*request // that wait for control
}

// waiting is an up that came while another session was closing.
type waiting struct {
	c  *Command
	at time.Time
}

// ending is how a session ended, to answer an up that is repeated.
type ending struct {
	rev int
	sum [sha256.Size]byte
	st  Status
	err error // its grant was refused: nothing opened
}

// pending is a reply that gathers stages.
type pending struct {
	due time.Time // zero: none
	re  string
}

// What the machine wants done, in this order.
type (
	action any

	startAction struct { // call the Handler
		n          int
		id, server string
		grant      []byte
	}
	stopAction struct { // end the Handler's context
		n     int
		cause error
	}
	grantAction struct { // a later rev
		n     int
		token []byte
	}
	offerAction struct { // from the far end
		n      int
		sealed []byte
	}
	answerAction struct { // to a request
		n       int
		nonce   string
		session string
		grant   []byte
		err     error
	}
	endAction    struct{ session string } // tell the Device
	rotateAction struct{}                 // new prekeys
	sendAction   struct {
		typ    string // of the token to be made from st; empty: none is
		st     Status
		hint   Status // what old readers see
		retain bool
	}
	noticeAction struct{ Notice }
)

const (
	keepOver   = 1024 // sessions that are over and remembered, as keys.Device does
	keepDead   = 64   // requests that were given up
	keepFinal  = 16   // of which the end is remembered
	gatherFor  = 100 * time.Millisecond
	firstFor   = 25 * time.Millisecond // of a session: to be keyed and have a socket
	docSpacing = 250 * time.Millisecond
	maxWhyOurs = 200 // bytes
)

func newMachine(d Device, cfg Config, now time.Time) *machine {
	return &machine{
		d: d, cfg: cfg, last: Status{VPN: Disconnected}, over: newRing(keepOver), dead: newRing(keepDead),
		bucket: bucket{tokens: bucketBurst, last: now}, tallies: make(map[string]*tally),
	}
}

func (m *machine) do(a action) { m.out = append(m.out, a) }

// take returns what is to be done, once.
func (m *machine) take() []action {
	out := m.out
	m.out = nil
	return out
}

// line says that the transport is connected, each time, or no longer is.
func (m *machine) line(now time.Time, up bool) {
	was := m.up
	m.up = up
	switch {
	case up:
		m.do(noticeAction{Notice{At: now, Kind: NoticeLineUp}})
		m.do(rotateAction{})
		m.publish(now)
		m.unsaid(now)
		if m.cur != nil {
			m.resend(now, true)
		}
	case was:
		m.do(noticeAction{Notice{At: now, Kind: NoticeLineDown}})
	}
}

// stop ends what is open, because Serve ends.
func (m *machine) stop(now time.Time, cause error) {
	m.stopping, m.wait = true, nil
	if m.cur != nil && !m.cur.closing {
		m.close(now, m.cur.re, cause)
	}
}

// farewell says what is left to say before Serve returns.
func (m *machine) farewell(now time.Time) {
	m.flush()
	m.publish(now)
	m.count(now.Add(tallyFor))
}

// next returns when tick is due; zero: never.
func (m *machine) next() time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	sooner(m.reply.due)
	if m.up {
		sooner(m.docDue)
		sooner(m.renewAt)
	}
	for _, t := range m.tallies {
		sooner(t.since.Add(tallyFor))
	}
	if m.cur != nil {
		for _, r := range m.cur.requests {
			sooner(r.until)
			if m.up {
				sooner(r.again)
			}
		}
	}
	return at
}

// tick does what is due.
func (m *machine) tick(now time.Time) {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if due(m.reply.due) {
		m.flush()
	}
	if m.up && (due(m.docDue) || due(m.renewAt)) {
		m.publish(now)
	}
	m.count(now)
	if m.cur != nil {
		m.resend(now, false)
	}
}
