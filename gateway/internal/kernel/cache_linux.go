package kernel

import (
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// cache holds the bytes of all sessions, since single questions about thousands of
// them would keep the kernel busy.
type cache struct {
	at    time.Time
	took  time.Duration
	bytes map[way]reach.Counters
}

const (
	countsFresh = 250 * time.Millisecond
	countsShare = 50 // reading them may take one part in so many of the time
)

// Counters returns the bytes of a session so far, as of a moment ago.
func (p *Plane) Counters(id string) reach.Counters {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[id]
	if s == nil || p.closed {
		return reach.Counters{}
	}
	if now := time.Now(); now.Sub(p.counters.at) > max(countsFresh, countsShare*p.counters.took) {
		all, err := p.firewall.bytes()
		if err != nil {
			p.cfg.Logger.Warn("counters", zap.Error(err))
		} else {
			p.counters = cache{at: now, took: time.Since(now), bytes: all}
		}
	}
	c := s.past
	for _, w := range s.ways {
		n := p.counters.bytes[w]
		c.Rx += n.Rx
		c.Tx += n.Tx
	}
	return c
}
