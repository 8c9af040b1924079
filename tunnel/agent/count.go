package agent

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/boothwire/boothwire/tunnel"
)

// figures are what sessions have carried.
type figures struct {
	rx, tx uint64
	spent  tunnel.PathTimes
}

func (f *figures) add(s tunnel.Status) {
	f.rx += s.Rx
	f.tx += s.Tx
	f.spent.Direct += s.Spent.Direct
	f.spent.Relay += s.Spent.Relay
}

// countEvery is about how often control hears of the bytes of a session in which
// nothing else happens. It varies by a fifth, so that sessions opened at once do not
// speak at once.
const countEvery = time.Minute

// countOn tells of the session's figures until ctx ends.
func (s *session) countOn(ctx context.Context, t *tunnel.Tunnel) {
	for {
		select {
		case <-time.After(countEvery*4/5 + rand.N(countEvery*2/5)):
			s.count(t)
		case <-ctx.Done():
			return
		}
	}
}

// count tells of the session's figures; signalling says them when it is worth it.
func (s *session) count(t *tunnel.Tunnel) {
	s.line.Count(status(t))
}
