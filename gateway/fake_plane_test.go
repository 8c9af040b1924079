package gateway

import (
	"errors"
	"net/netip"
	"sync"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/keys"
)

// memoryPlane is a data plane of nothing but a table: for what a node decides
// before any packet flows.
type memoryPlane struct {
	mu    sync.Mutex
	table *reach.Table
	tally reach.Tally
	now   map[string]reach.Session
	sets  int
	left  int // sets until it was settled; -1: it was not
	fail  bool
	entry uint16 // the port for operators
	stuck error  // of Settle
	gone  string // how it went
}

func (p *memoryPlane) Set(s reach.Session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail {
		delete(p.now, s.ID)
		p.table.Remove(s.ID)
		return errors.New("no")
	}
	p.sets++
	p.now[s.ID] = s
	return p.table.Set(&s)
}

func (p *memoryPlane) Remove(session string) reach.Counters {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.now, session)
	p.table.Remove(session)
	return reach.Counters{Rx: 1, Tx: 2}
}

func (p *memoryPlane) session(id string) (reach.Session, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.now[id]
	return s, ok
}

func (p *memoryPlane) Settle() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = p.sets
	return p.stuck
}

func (p *memoryPlane) Counters(string) reach.Counters       { return reach.Counters{Rx: 1, Tx: 2} }
func (p *memoryPlane) SetPool(_ netip.Prefix, a netip.Addr) { p.table.SetProof(a) }
func (p *memoryPlane) Ports() (uint16, uint16, error)       { return 51820, p.entry, nil }
func (p *memoryPlane) Drops() map[string]uint64             { return p.tally.Drops() }
func (p *memoryPlane) Passed() (uint64, uint64)             { return 0, 0 }
func (p *memoryPlane) Leave() error                         { p.gone += "left "; return nil }
func (p *memoryPlane) Close() error                         { p.gone += "closed "; return nil }

// newMemoryPlane is an opener beside the plane that it opens.
func newMemoryPlane() (*memoryPlane, opener) {
	p := &memoryPlane{now: make(map[string]reach.Session), entry: 51820, left: -1}
	return p, func(n *Node, _ keys.PrivateKey, _ uint16) (plane, error) {
		p.table = reach.NewTable(n.cfg.Proof, &p.tally, nil)
		return p, nil
	}
}
