package kernel

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// cache holds the bytes of all sessions, since single questions about thousands of
// them would keep the kernel busy.
type cache struct {
	mu    sync.Mutex
	at    time.Time
	took  time.Duration
	bytes map[way]reach.Counters
	count int // how often the ways have begun anew; Plane.mu guards it, too
}

const (
	countsFresh = 250 * time.Millisecond
	countsShare = 50 // reading them may take one part in so many of the time
)

// Counters returns the bytes of a session so far, as of a moment ago.
func (p *Plane) Counters(id string) reach.Counters {
	bytes, count := p.counters.get(p)
	return p.sum(id, bytes, count)
}

// sum is the bytes of a session by those of the ways, of which count tells since when.
func (p *Plane) sum(id string, bytes map[way]reach.Counters, count int) reach.Counters {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[id]
	if s == nil || p.closed {
		return reach.Counters{}
	}
	c := s.past
	if count != p.counters.count {
		return c // which has them by now
	}
	for _, w := range s.ways {
		n := bytes[w]
		c.Rx += n.Rx
		c.Tx += n.Tx
	}
	return c
}

// get returns what is known, read anew when it is old, and how often the ways had begun
// to count. It holds nothing that changes of sessions wait for.
func (c *cache) get(p *Plane) (map[way]reach.Counters, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.at) <= max(countsFresh, countsShare*c.took) {
		return c.bytes, c.count
	}
	all, err := p.firewall.bytes()
	if err != nil {
		p.cfg.Logger.Warn("counters", zap.Error(err))
		return c.bytes, c.count
	}
	c.at, c.took, c.bytes = now, time.Since(now), all
	return all, c.count
}
