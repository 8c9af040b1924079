package server

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/internal/wire"
)

// room says why a leg with a good token cannot come in; mu is held.
func (s *Server) room(t *keys.Token) (code string) {
	switch _, gone := s.revoked[t.Session]; {
	case gone:
		return "revoked"
	case s.drain || s.closed:
		return "draining"
	case s.legs >= s.cfg.Legs:
		return "full"
	}
	return ""
}

// join puts a leg into its pair.
func (s *Server) join(l *leg, t *keys.Token) (code string) {
	key := pairKey{t.Session, t.Ends}
	for {
		s.mu.Lock()
		// With the pair in one lock, so that Revoke and Close miss no leg.
		if code := s.room(t); code != "" {
			s.mu.Unlock()
			return code
		}
		p := s.pair(key)
		if p == nil {
			p = &pair{key: key, s: s, from: s.cfg.Now()}
			s.pairs[t.Session] = append(s.pairs[t.Session], p)
		}
		s.legs++
		s.mu.Unlock()
		if code = p.join(l, t); code == "" {
			break
		}
		s.leave()
		if code != "ended" {
			return code
		}
		// It ended while this leg came: the session may go on with a new pair.
		s.drop(p)
	}
	s.accepted.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drain { // Drain did not see it
		_ = l.out.Put(s.drainFrame())
	}
	return ""
}

// pair is the one of a key, or nil; mu is held.
func (s *Server) pair(key pairKey) *pair {
	for _, p := range s.pairs[key.session] {
		if p.key == key {
			return p
		}
	}
	return nil
}

// leave is after a leg that had joined.
func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.legs--
}

// drop forgets a pair that is over.
func (s *Server) drop(p *pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := slices.DeleteFunc(s.pairs[p.key.session], func(q *pair) bool { return q == p })
	if len(rest) > 0 {
		s.pairs[p.key.session] = rest
	} else {
		delete(s.pairs, p.key.session)
	}
}

// ended tells of a session that is over.
func (s *Server) ended(r Record) {
	s.log.Info("session ended", zap.String("session", r.Session), zap.String("code", r.Code), zap.Duration("paired", r.Paired),
		zap.Uint64s("bytes", r.Bytes[:]), zap.Uint64s("dropped", r.Dropped[:]), zap.Int("replaced", r.Replaced), zap.Int("websockets", r.WebSockets))
	if s.cfg.Ended != nil {
		s.cfg.Ended(r)
	}
}

// count adds up what a leg did that is over.
func (s *Server) count(t *Traffic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past.add(t)
}

// waited notes how long a pair's first leg waited for the second.
func (s *Server) waited(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits.Observe(d.Seconds())
}

// revokedFor outlasts every token that a session's last revision can have.
const (
	revokedFor = 24 * time.Hour
	maxRevoked = 100_000     // after which those that nobody needs are swept out
	sweepEvery = time.Second // at most: all of them may be needed still
)

// Revoke ends a session, and lets no leg of it in any more.
func (s *Server) Revoke(session string) {
	now := s.cfg.Now()
	s.mu.Lock()
	if len(s.revoked) >= maxRevoked && now.Sub(s.swept).Abs() >= sweepEvery {
		s.swept = now
		for id, until := range s.revoked {
			if now.After(until) {
				delete(s.revoked, id)
			}
		}
	}
	s.revoked[session] = now.Add(revokedFor)
	open := slices.Clone(s.pairs[session])
	s.mu.Unlock()
	for _, p := range open {
		p.close("revoked")
	}
}

// all is the pairs of now; mu is held.
func (s *Server) all() []*pair { return slices.Concat(slices.Collect(maps.Values(s.pairs))...) }

// Drain tells all legs to go elsewhere, lets in no more, and returns when none is left,
// after Config.Drain at the latest. Serve calls it at its end; a host that uses
// ServeHTTP alone calls it before Close.
func (s *Server) Drain() {
	s.mu.Lock()
	s.drain = true
	all := s.all()
	s.mu.Unlock()
	frame := s.drainFrame()
	for _, p := range all {
		for l := range p.present() {
			_ = l.out.Put(frame)
		}
	}
	for end := time.Now().Add(s.cfg.Drain); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		n := s.legs
		s.mu.Unlock()
		if n == 0 {
			return
		}
	}
}

func (s *Server) drainFrame() []byte {
	return wire.AppendControl(nil, wire.Drain, binary.BigEndian.AppendUint32(nil, uint32(s.cfg.Drain.Milliseconds()))...)
}

// Close cuts every leg and returns when nothing is left.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	all := s.all()
	s.mu.Unlock()
	for _, p := range all {
		p.close("draining")
	}
	s.work.Wait()
	return nil
}
