package signaling

import (
	"context"
	"encoding/json"
	"iter"
	"time"
)

// Session is one session, as its Handler sees it. Its methods are safe for
// concurrent use and may be called after the Handler has returned: they then
// do nothing.
type Session struct {
	ID     string // empty until Request, if a bare vpn_up began it
	Server string // the node; empty: an operator's own tool
	Grant  []byte // signed and verified; nil: a bare vpn_up began it, call Request

	n      int // of the run
	ctx    context.Context
	srv    *server
	grants *mailbox[[]byte]
	offers *mailbox[[]byte]
}

const (
	keepGrants = 4 // each is a whole statement: the latest is enough
	keepOffers = 16
)

// Grants yields the grants with a higher rev that come for the session, those
// that answer a Request aside, until ctx or the session ends. Of more than 4
// that wait the latest are kept: a grant says everything anew.
func (s *Session) Grants(ctx context.Context) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for {
			g, err := s.grants.take(ctx, s.ctx)
			if err != nil || !yield(g) {
				return
			}
		}
	}
}

// Request asks control for a grant, with a fresh prekey: for a session if a
// bare vpn_up began this one, for a rekey in the middle of it after a step of
// the wall clock. It is published every 5 s until control answers, for 60 s at
// most, and returns the grant, having set s.ID. The error is an *Error with
// control's word for a refusal, ReasonUnanswered, or the cause for which ctx or
// the session ended.
func (s *Session) Request(ctx context.Context) ([]byte, error) {
	payload, err := json.Marshal(struct {
		Server  string `json:"server"`
		Session string `json:"session"`
	}{s.Server, s.ID})
	if err != nil {
		return nil, err
	}
	token, nonce, err := s.srv.d.Request(payload)
	if err != nil {
		return nil, err
	}
	answer := make(chan answerAction, 1)
	asked := s.srv.call(func(now time.Time) {
		s.srv.answers[nonce] = answer
		s.srv.m.request(now, s.n, nonce, token)
	})
	if !asked {
		return nil, &Error{Reason: ReasonClosed}
	}
	select {
	case a := <-answer:
		if a.err == nil {
			s.ID = a.session
		}
		return a.grant, a.err
	case <-ctx.Done():
	}
	s.srv.call(func(time.Time) {
		delete(s.srv.answers, nonce)
		s.srv.m.forget(nonce)
		select {
		case a := <-answer: // it came at the last moment
			if a.err == nil {
				s.grants.put(a.grant)
			}
		default:
		}
	})
	return nil, context.Cause(ctx)
}

// Reach says that a stage from Keyed to Ready was reached; other words are
// ignored. Serve publishes the ladder: Ready at once, others together. Ready
// also makes the session connected; said again, it is published again, which
// tells control that a later grant is in force.
func (s *Session) Reach(st Stage) {
	s.srv.call(func(now time.Time) { s.srv.m.reach(now, s.n, st) })
}

// Report says how the session is: VPN (Connecting, Connected or Degraded), IP
// (zero: the first address of the grant), Code, Why (at most 200 bytes), Path
// and RTT, with the figures that Count takes. Other fields are Serve's own. A change
// of RTT or of figures alone is not published by itself.
func (s *Session) Report(st *Status) {
	c := Status{VPN: st.VPN, IP: st.IP, Code: st.Code, Why: st.Why, Path: st.Path, RTT: st.RTT,
		Rx: st.Rx, Tx: st.Tx, Direct: st.Direct, Relay: st.Relay}
	s.srv.call(func(now time.Time) { s.srv.m.report(now, s.n, c) })
}

// Count says what the session has carried so far: of st, Rx, Tx, Direct and Relay,
// none of which falls. It goes with whatever is said next. If more bytes have passed
// and nothing else has changed for 30 s, it is said by itself; so who calls it once a
// minute, and before the Handler returns, does enough.
func (s *Session) Count(st *Status) {
	c := Status{Rx: st.Rx, Tx: st.Tx, Direct: st.Direct, Relay: st.Relay}
	s.srv.call(func(now time.Time) { s.srv.m.counted(now, s.n, c) })
}

// maxOffer is how many bytes of an offer fit into a status.
const maxOffer = 2800

// SendOffer publishes what is sealed for the far end: at most 2,800 bytes.
// That it arrives is not certain. With ReceiveOffer it makes s an exchanger of
// candidates.
func (s *Session) SendOffer(ctx context.Context, sealed []byte) error {
	if len(sealed) == 0 || len(sealed) > maxOffer {
		return refuse(ReasonOversized, "an offer of %d bytes, 1 to %d fit", len(sealed), maxOffer)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	sent := make(chan bool, 1)
	b := append([]byte(nil), sealed...)
	if !s.srv.call(func(time.Time) { sent <- s.srv.m.offer(s.n, b) }) || !<-sent {
		return &Error{Reason: ReasonClosed}
	}
	return nil
}

// ReceiveOffer waits for what the far end sealed for the session, until ctx or
// the session ends. Of more than 16 that wait the oldest are dropped.
func (s *Session) ReceiveOffer(ctx context.Context) ([]byte, error) {
	return s.offers.take(ctx, s.ctx)
}
