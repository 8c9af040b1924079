package server

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/internal/queue"
)

// bare is a Server that nobody reaches.
func bare(now func() time.Time) *Server {
	return &Server{hall: newHall(1, 1), cfg: (&Config{Now: now}).withDefaults(), pairs: make(map[string][]*pair), revoked: make(map[string]time.Time)}
}

// What nobody needs to know any more is forgotten, and looked for now and then only:
// all of it may be needed still.
func TestRevokedAreSwept(t *testing.T) {
	now := time.Now()
	s := bare(func() time.Time { return now })
	fill := func(until time.Time) {
		for i := range maxRevoked {
			s.revoked[fmt.Sprint(i)] = until
		}
	}
	revoke := func(session string, left int) {
		t.Helper()
		s.Revoke(session)
		if len(s.revoked) != left {
			t.Errorf("%s: %d are known, want %d", session, len(s.revoked), left)
		}
	}
	fill(now.Add(time.Hour))
	revoke("first", maxRevoked+1)
	fill(now.Add(-time.Hour))
	revoke("soon after", maxRevoked+2)
	now = now.Add(sweepEvery)
	revoke("later", 3)
	now = now.Add(-time.Hour) // somebody set the clock
	fill(now.Add(-time.Hour))
	revoke("earlier", 4)
}

// A revocation ends every pair of its session, and no other.
func TestRevokeEndsPairs(t *testing.T) {
	s := bare(time.Now)
	pairs := make(map[string][]*pair)
	for range 3 {
		for _, session := range []string{"one", "two"} {
			key := pairKey{session, [2]keys.PublicKey{keys.NewPrivateKey().Public()}}
			p := &pair{key: key, s: s}
			s.pairs[session] = append(s.pairs[session], p)
			pairs[session] = append(pairs[session], p)
			if s.pair(key) != p {
				t.Error("another pair for its key")
			}
		}
	}
	s.Revoke("one")
	for _, p := range pairs["one"] {
		if !p.over || s.pair(p.key) != nil {
			t.Error("a pair of a session that is revoked")
		}
	}
	for _, p := range pairs["two"] {
		if p.over || s.pair(p.key) != p {
			t.Error("a pair of another session is over")
		}
	}
	if len(s.pairs) != 1 || len(s.all()) != 3 {
		t.Errorf("%d sessions, %d pairs are left", len(s.pairs), len(s.all()))
	}
}

// Totals do not fall while legs come and go.
func TestTotalsDoNotFall(t *testing.T) {
	s := bare(time.Now)
	p := &pair{s: s, key: pairKey{session: "one"}}
	s.pairs["one"] = []*pair{p}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	pool := queue.NewPool()
	const rounds = 1000
	var work sync.WaitGroup
	var polls atomic.Int64
	var over atomic.Bool
	work.Go(func() {
		for range rounds {
			l := &leg{s: s, out: newQueue(pool, near)}
			l.received.Store(1000)
			for _, next := range []*leg{l, nil} {
				p.mu.Lock()
				p.put(0, next)
				p.mu.Unlock()
				for seen := polls.Load() + 2; polls.Load() < seen && !over.Load(); { // it was shown
					runtime.Gosched()
				}
			}
		}
	})
	for shown := uint64(0); shown < 1000*rounds; polls.Add(1) {
		now := s.Stats().Bytes
		if now < shown {
			t.Errorf("%d bytes after %d", now, shown)
			break
		}
		shown = now
	}
	over.Store(true)
	work.Wait()
	if n := s.Stats().Bytes; n != 1000*rounds {
		t.Errorf("%d bytes, want %d", n, 1000*rounds)
	}
}
