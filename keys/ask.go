package keys

import (
	"encoding/json"
	"time"
)

const (
	maxPending = 4           // asks, and requests, that wait for their grant
	askEvery   = time.Second // one ask, on average
	askBurst   = 4
)

// limiter is a token bucket on a clock that comes in.
type limiter struct {
	tokens float64
	last   time.Duration
}

func newLimiter(now time.Duration) limiter { return limiter{tokens: askBurst, last: now} }

func (l *limiter) allow(now time.Duration) bool {
	l.tokens = min(askBurst, l.tokens+float64(now-l.last)/float64(askEvery))
	l.last = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// askWire is the payload of an ask, answerWire that of its answer.
type askWire struct {
	Session string `json:"session"`
	Device  string `json:"device"`
	Nonce   string `json:"nonce"`
}

type answerWire struct {
	Session string    `json:"session"`
	Nonce   string    `json:"nonce"`
	Prekey  PublicKey `json:"prekey"`
	Boot    string    `json:"boot"`
}

// Answer publishes one fresh prekey for the session that a signed ask names,
// and for no other; nothing opens before a grant names it. The same ask again
// gets the same answer while it waits. At most 4 asks wait for their grant
// (10 minutes each) and 1 a second is answered, 4 at once; beyond that the
// reason is "flood". Errors are *GrantError.
func (d *Device) Answer(ask []byte) ([]byte, error) {
	payload, err := d.Verify(TypeAsk, ask)
	if err != nil {
		return nil, err
	}
	var a askWire
	if err := decode(payload, &a); err != nil {
		return nil, err
	}
	if !ValidID(a.Session) || !ValidID(a.Nonce) {
		return nil, refuse(ReasonMalformed, "an ask without session and nonce")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock()
	d.purse.expire(now)
	for _, o := range d.purse.keys {
		if o.ask && o.nonce == a.Nonce && o.session == a.Session {
			return append([]byte(nil), o.answer...), nil
		}
	}
	switch n, _ := d.purse.count(true); {
	case d.closed.has(a.Session):
		return nil, refuse(ReasonClosed, "its session is over")
	case d.nonces.has(a.Nonce):
		return nil, refuse(ReasonReplayed, "it was answered before")
	case n >= maxPending:
		return nil, refuse(ReasonFlood, "%d asks wait for their grant", n)
	case !d.asks.allow(now):
		return nil, refuse(ReasonFlood, "more than one a second")
	}
	o := &offered{session: a.Session, nonce: a.Nonce, ask: true}
	pub := d.purse.add(now, o)
	o.answer, err = d.state(TypeAnswer, encode(answerWire{a.Session, a.Nonce, pub, d.boot}))
	if err != nil {
		d.purse.drop(pub)
		return nil, err
	}
	d.nonces.add(a.Nonce)
	d.tidy(now)
	return append([]byte(nil), o.answer...), nil
}

// Request signs payload, a JSON object, as a TypeRequest, with two fields
// added: "prekey", a fresh one, and "nonce", which the grant that answers
// carries as Re and which is returned. If payload has a "session" (a rekey in
// mid-session), only that session may use the prekey. It waits 10 minutes for
// its grant; of more than 4 the one that has waited longest is dropped.
func (d *Device) Request(payload []byte) (token []byte, nonce string, err error) {
	var fields map[string]json.RawMessage
	var own struct {
		Session string `json:"session"`
	}
	if err := decode(payload, &fields); err != nil {
		return nil, "", err
	}
	if err := decode(payload, &own); err != nil {
		return nil, "", err
	}
	if fields["nonce"] != nil || fields["prekey"] != nil || own.Session != "" && !ValidID(own.Session) {
		return nil, "", refuse(ReasonMalformed, "a request with fields that are not the caller's")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if own.Session != "" && d.closed.has(own.Session) {
		return nil, "", refuse(ReasonClosed, "its session is over")
	}
	now := d.clock()
	d.purse.expire(now)
	if n, oldest := d.purse.count(false); n >= maxPending {
		d.purse.drop(oldest)
	}
	o := &offered{session: own.Session, nonce: NewID()}
	pub := d.purse.add(now, o)
	fields["nonce"], fields["prekey"] = encode(o.nonce), encode(pub)
	if token, err = d.state(TypeRequest, encode(fields)); err != nil {
		d.purse.drop(pub)
		return nil, "", err
	}
	d.tidy(now)
	return token, o.nonce, nil
}
