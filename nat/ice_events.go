package nat

import (
	"time"

	"go.uber.org/zap"
)

// hear takes a message of the far end, or of anybody.
func (s *search) hear(sealed []byte) {
	generation, ok := generationOf(sealed)
	if !ok {
		return
	}
	if s.try != nil && generation == s.try.own.generation {
		if o, list, err := openOffer(sealed, s.try.far); err == nil {
			s.try.receive(o, list)
			if s.conn != nil {
				s.conn.hear(s.try.exchange.farText)
			}
		}
		return
	}
	if s.role == controlling || s.try != nil && generation < s.try.own.generation {
		return
	}
	far, err := derive(s.secret, generation, s.role.far())
	if err != nil {
		return
	}
	o, list, err := openOffer(sealed, far)
	if err != nil {
		return
	}
	if s.conn != nil {
		s.lose(&Error{Reason: ReasonSuperseded})
		return
	}
	if s.err = s.begin(generation); s.err == nil {
		s.try.receive(o, list)
	}
}

// deaf is told that the exchanger has ended. Whoever has been heard can still be
// reached.
func (s *search) deaf(err error) {
	s.log.Debug("no more offers", zap.Error(err))
	if s.conn == nil && (s.try == nil || !s.try.started) {
		s.err = s.failure(ReasonSignaling, err)
	}
}

// giveUp ends an attempt that took too long.
func (s *search) giveUp() {
	switch {
	case s.conn != nil || s.try == nil:
	case !s.try.started:
		s.err = s.failure(ReasonUnanswered, nil)
	case len(s.try.exchange.list) == 0:
		s.err = s.failure(ReasonNoCandidates, nil)
	default:
		s.err = s.failure(ReasonNoPath, nil)
	}
}

// failure is an error with what is known so far.
func (s *search) failure(reason string, err error) *Error {
	e := &Error{Reason: reason, Err: err}
	if s.try != nil {
		x := &s.try.exchange
		e.Local, e.Remote, e.Far = x.list, x.far, x.farText
	}
	return e
}

// lose ends the path, or the search if there is none yet.
func (s *search) lose(e *Error) {
	if s.conn == nil {
		s.err = s.failure(e.Reason, e.Err)
		return
	}
	s.log.Debug("path lost", zap.String("reason", e.Reason))
	s.conn.lose(e)
}

// found makes the Conn.
func (s *search) found(remote Candidate) {
	if s.conn != nil {
		if s.conn.pair.Remote.Addr != remote.Addr {
			s.lose(&Error{Reason: ReasonPathMoved})
		}
		return
	}
	s.conn, s.since = newConn(s, s.try.pair(remote)), time.Now()
	s.deadline.Stop()
	s.log.Debug("path found", zap.String("pair", s.conn.pair.String()), zap.Stringer("remote", remote.Addr))
	close(s.ready)
}

// ended is told that the agent hears nothing more.
func (s *search) ended() {
	if s.conn != nil {
		s.lose(&Error{Reason: ReasonPathLost})
		return
	}
	s.lose(&Error{Reason: ReasonNoPath})
}
