package bind

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A source is where one peer's packets come from.
type source struct {
	peer   *Peer
	addr   netip.AddrPort
	stream *stream      // instead of an address
	rx     atomic.Int64 // when the newest packet came, on the Bind's clock; 0: none
	heard  atomic.Uint64
}

// touch notes packets that came just now.
func (s *source) touch(now time.Duration, packets int) {
	s.rx.Store(int64(now))
	s.heard.Add(uint64(packets))
}

// A table says whose the known addresses are. An address that two peers claim is
// nobody's: WireGuard tells their packets apart.
type table struct {
	version atomic.Uint64 // counts changes

	mu     sync.RWMutex
	claims map[netip.AddrPort][]*source
}

func newTable() *table { return &table{claims: make(map[netip.AddrPort][]*source)} }

// find returns the source with that address, nil if it is nobody's.
func (t *table) find(addr netip.AddrPort) *source {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if c := t.claims[addr]; len(c) == 1 {
		return c[0]
	}
	return nil
}

// add notes that s's peer uses s's address.
func (t *table) add(s *source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claims[s.addr] = append(t.claims[s.addr], s)
	t.version.Add(1)
}

// remove takes s back.
func (t *table) remove(s *source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rest := slices.DeleteFunc(t.claims[s.addr], func(other *source) bool { return other == s })
	if len(rest) == 0 {
		delete(t.claims, s.addr)
	} else {
		t.claims[s.addr] = rest
	}
	t.version.Add(1)
}
