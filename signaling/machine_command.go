package signaling

import (
	"bytes"
	"crypto/sha256"
	"net/netip"
	"time"

	"github.com/boothwire/boothwire/internal/strictjson"
)

// deliver takes a message that came at the given time.
func (m *machine) deliver(now, at time.Time, msg Message) {
	if m.stopping {
		return
	}
	if !m.bucket.allow(now) {
		m.refuse(now, refusal{err: refuse(ReasonFlood, "more than %d messages a second", bucketRate)})
		return
	}
	if msg.Retained {
		m.refuse(now, refusal{err: refuse(ReasonRetained, "a retained command")})
		return
	}
	c, err := parseCommand(msg.Payload)
	if err != nil {
		m.refuse(now, refusal{re: c.ID, err: err})
		return
	}
	switch c.Action {
	case Up:
		m.commandUp(now, at, c)
	case Down:
		m.commandDown(now, c)
	case Ask:
		m.commandAsk(now, c)
	case Roots:
		m.commandRoots(now, c)
	case Offer:
		m.commandOffer(now, c)
	}
}

// claims is what of a grant's or a down's payload decides here; the Handler
// gets the whole token.
type claims struct {
	Session   string       `json:"session"`
	Rev       int          `json:"rev"`
	Re        string       `json:"re"`
	Why       string       `json:"why"`
	Addresses []netip.Addr `json:"addresses"`
	Far       struct {
		Node string `json:"node"`
	} `json:"far"`

	sum [sha256.Size]byte
}

// verify asks the Device and reads what it vouches for.
func (m *machine) verify(typ string, token []byte) (*claims, error) {
	payload, err := m.d.Verify(typ, token)
	if err != nil {
		return nil, err
	}
	c := &claims{sum: sha256.Sum256(payload)}
	if err := strictjson.Unmarshal(payload, c); err != nil {
		return nil, refuseJSON(err)
	}
	if c.Session != "" && !validID(c.Session) || c.Re != "" && !validID(c.Re) || c.Far.Node != "" && !validID(c.Far.Node) {
		return nil, refuse(ReasonMalformed, "a wrong id in a token")
	}
	return c, nil
}

func (m *machine) commandUp(now, at time.Time, c *Command) {
	if len(c.Token) == 0 {
		m.bareUp(now, at, c)
		return
	}
	g, err := m.verify(typGrant, c.Token)
	if err == nil && (g.Session == "" || g.Rev < 1) {
		err = refuse(ReasonMalformed, "a grant without session or rev")
	}
	if err != nil {
		m.refuse(now, refusal{re: c.ID, err: err})
		return
	}
	no := func(reason, why string) {
		m.refuse(now, refusal{re: c.ID, session: g.Session, verified: true, err: refuse(reason, "%s", why)})
	}
	o := m.cur
	if e := m.ended(g); e != nil && (o == nil || o.id != g.Session) {
		if e.err != nil {
			m.refuse(now, refusal{re: c.ID, session: g.Session, verified: true, err: e.err})
		} else {
			m.answer(c.ID, e.st)
		}
		return
	}
	switch {
	case m.over.has(g.Session):
		no(ReasonClosed, "its session is over")
	case g.Re != "" && m.dead.has(g.Re) && (o == nil || o.id != g.Session):
		m.over.add(g.Session)
		m.do(endAction{g.Session})
		no(ReasonClosed, "the request that it answers was given up")
	case o == nil:
		m.open(now, at, c, g)
	case o.id == "" && !o.closing && o.asked(g.Re):
		o.bind(now, g)
		m.higher(now, c, g)
	case o.id == g.Session:
		switch {
		case g.Rev == o.rev && g.sum == o.sum:
			m.replySoon(now, c.ID)
		case g.Rev <= o.rev:
			no(ReasonReplayed, "an earlier rev, or the same with other content")
		default:
			m.higher(now, c, g)
		}
	case o.closing:
		m.hold(now, at, c)
	default:
		no(ReasonBusy, "another session is open")
	}
}

// hold keeps an up until the session before it has closed; of several the
// latest counts.
func (m *machine) hold(now, at time.Time, c *Command) {
	if w := m.wait; w != nil && (!bytes.Equal(w.c.Token, c.Token) || w.c.Server != c.Server) {
		m.refuse(now, refusal{re: w.c.ID, verified: len(w.c.Token) > 0, err: refuse(ReasonBusy, "another session comes first")})
	}
	m.wait = &waiting{c, at}
}

func (m *machine) commandDown(now time.Time, c *Command) {
	if len(c.Token) == 0 {
		m.bareDown(now, c)
		return
	}
	d, err := m.verify(typDown, c.Token)
	if err == nil && d.Session == "" && d.Re == "" {
		err = refuse(ReasonMalformed, "a down without a session")
	}
	if err != nil {
		m.refuse(now, refusal{re: c.ID, err: err})
		return
	}
	o := m.cur
	switch {
	case d.Re != "":
		if o != nil && o.asked(d.Re) {
			reason := d.Why
			if !validCode(reason) {
				reason = ReasonRefused
			}
			m.settle(o, d.Re, nil, &Error{Reason: reason})
		}
		m.replySoon(now, c.ID)
	case o != nil && o.id == d.Session && o.closing:
		m.replySoon(now, c.ID)
	case o != nil && o.id == d.Session:
		m.close(now, c.ID, downFor(d.Why))
	default:
		if m.over.add(d.Session) {
			m.do(endAction{d.Session})
		}
		st := Status{VPN: Disconnected, Session: d.Session}
		for _, e := range m.final {
			if e.st.Session == d.Session && e.err == nil {
				st = e.st
			}
		}
		m.answer(c.ID, st)
	}
}

func (m *machine) commandAsk(now time.Time, c *Command) {
	if len(c.Token) == 0 {
		m.refuse(now, refusal{re: c.ID, err: refuse(ReasonUnsigned, "an ask without a token")})
		return
	}
	answer, err := m.d.Answer(c.Token)
	if err != nil {
		m.refuse(now, refusal{re: c.ID, err: err})
		return
	}
	st := m.hint()
	st.Re, st.Answer = c.ID, answer
	m.send(sendAction{hint: st})
}

func (m *machine) commandRoots(now time.Time, c *Command) {
	if len(c.Token) == 0 {
		m.refuse(now, refusal{re: c.ID, err: refuse(ReasonUnsigned, "roots without a token")})
		return
	}
	sum := sha256.Sum256(c.Token)
	if sum == m.lists {
		m.replySoon(now, c.ID)
		return
	}
	if err := m.d.UpdateRoots(c.Token); err != nil {
		m.refuse(now, refusal{re: c.ID, err: err})
		return
	}
	m.lists = sum
	m.replyNow(now, c.ID)
	m.changed(now)
}

func (m *machine) commandOffer(now time.Time, c *Command) {
	o := m.cur
	switch {
	case len(c.Offer) == 0:
		m.refuse(now, refusal{re: c.ID, err: refuse(ReasonMalformed, "an offer with nothing in it")})
	case o == nil || o.closing || o.id == "" || o.id != c.Session:
		m.refuse(now, refusal{re: c.ID, err: refuse(ReasonClosed, "an offer for a session that is not open")})
	default:
		m.do(offerAction{o.n, c.Offer})
	}
}
