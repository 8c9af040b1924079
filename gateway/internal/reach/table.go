package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boothwire/boothwire/internal/packet"
)

// Table holds the sessions of a node and decides on their packets. It is safe
// for concurrent use. Lock order: Table.mu, then operator.mu.
type Table struct {
	proved func(session string)
	tally  *Tally

	mu       sync.RWMutex
	proof    netip.Addr
	sessions map[string]*session
	members  map[netip.Addr]member
}

// session is what the packet path needs of a Session.
type session struct {
	id        string
	addresses []netip.Addr
	operators []*operator
	end       int64 // Unix nanoseconds
	proved    atomic.Bool
	rx, tx    atomic.Uint64
}

type operator struct {
	key     [32]byte
	address netip.Addr
	ports   []Port // replaced under Table.mu

	mu    sync.Mutex
	flows *flows // nil until his first packet
}

// member says whose an address is: an operator's, or the device's, whose
// addresses are numbered.
type member struct {
	session  *session
	operator *operator
	device   uint8
}

// maxAddresses bounds a device's addresses; flow keys hold their index in a byte.
const maxAddresses = 4

// NewTable returns an empty table that answers echoes to proof and counts in
// tally. proved is called once for each session, and again after SetProved, at the
// first packet that its device sent; it is called on the packet path with the
// table locked, so it must neither block nor call the table. It may be nil.
func NewTable(proof netip.Addr, tally *Tally, proved func(session string)) *Table {
	if proved == nil {
		proved = func(string) {}
	}
	return &Table{
		proved: proved, tally: tally, proof: proof,
		sessions: make(map[string]*session), members: make(map[netip.Addr]member),
	}
}

// SetProof changes the address at which the node answers echoes.
func (t *Table) SetProof(a netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.proof = a
}

// Check reports what Set would refuse: no address, too many, one twice, the
// node's own, or one that another session holds.
func (t *Table) Check(s *Session) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.check(s)
}

func (t *Table) check(s *Session) error {
	if len(s.Device.Addresses) == 0 || len(s.Device.Addresses) > maxAddresses {
		return fmt.Errorf("a device has 1 to %d addresses, not %d", maxAddresses, len(s.Device.Addresses))
	}
	seen := slices.Clone(s.Device.Addresses)
	for _, o := range s.Operators {
		seen = append(seen, o.Address)
	}
	for i, a := range seen {
		m, taken := t.members[a]
		switch {
		case !a.IsValid() || a.Zone() != "" || a.Is4In6():
			return fmt.Errorf("%v is no tunnel address", a)
		case a == t.proof:
			return fmt.Errorf("%v is the node's own", a)
		case slices.Contains(seen[:i], a):
			return fmt.Errorf("%v is there twice", a)
		case taken && m.session.id != s.ID:
			return fmt.Errorf("%v belongs to another session", a)
		}
	}
	return nil
}

// Set installs a session, or changes it to s: from its return no packet passes
// that s does not allow, live flows included, and flows that it allows live on.
func (t *Table) Set(s *Session) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.check(s); err != nil {
		return err
	}
	old := t.sessions[s.ID]
	live := old
	if live == nil {
		live = &session{id: s.ID}
		t.sessions[s.ID] = live
	}
	t.forget(live)
	known := live.operators
	if !slices.Equal(live.addresses, s.Device.Addresses) {
		known = nil // flows hold indexes of addresses
	}
	live.addresses = slices.Clone(s.Device.Addresses)
	live.end = s.End.UnixNano()
	live.operators = make([]*operator, 0, len(s.Operators))
	for _, o := range s.Operators {
		live.operators = append(live.operators, adopt(known, o))
	}
	for i, a := range live.addresses {
		t.members[a] = member{session: live, device: uint8(i)}
	}
	for _, o := range live.operators {
		t.members[o.address] = member{session: live, operator: o}
	}
	return nil
}

// adopt returns the known operator with o's key and address, changed to o's
// ports, or a new one.
func adopt(known []*operator, o Operator) *operator {
	for _, k := range known {
		if k.key == o.Key && k.address == o.Address {
			k.ports = slices.Clone(o.Ports)
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.flows != nil {
				k.flows.keep(k.allows)
			}
			return k
		}
	}
	return &operator{key: o.Key, address: o.Address, ports: slices.Clone(o.Ports)}
}

// allows reports whether the operator may reach a port; echoes need none.
func (o *operator) allows(proto uint8, port uint16) bool {
	return proto == packet.ICMP || proto == packet.ICMPv6 || slices.Contains(o.ports, Port{proto, port})
}

// Remove takes a session out, and returns its last counters.
func (t *Table) Remove(id string) Counters {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[id]
	if s == nil {
		return Counters{}
	}
	t.forget(s)
	delete(t.sessions, id)
	return s.counters()
}

func (t *Table) forget(s *session) {
	for _, a := range s.addresses {
		delete(t.members, a)
	}
	for _, o := range s.operators {
		delete(t.members, o.address)
	}
}

// SetProved false makes the next packet of the session's device call proved once
// more; true keeps it from doing so.
func (t *Table) SetProved(id string, proved bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if s := t.sessions[id]; s != nil {
		s.proved.Store(proved)
	}
}

// Counters returns the bytes of a session so far; zero for one unknown.
func (t *Table) Counters(id string) Counters {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if s := t.sessions[id]; s != nil {
		return s.counters()
	}
	return Counters{}
}

func (s *session) counters() Counters { return Counters{Rx: s.rx.Load(), Tx: s.tx.Load()} }

// Len returns how many sessions and how many members (peers) there are.
func (t *Table) Len() (sessions, members int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.sessions), len(t.members)
}

// Filter decides on each packet, which begins at offset of its buffer, and
// writes the verdicts to out, which is at least as long as bufs. It counts them
// all, and the bytes of those that pass.
func (t *Table) Filter(bufs [][]byte, offset int, now time.Time, out []Reason) {
	var p packet.Info
	clock := now.UnixNano()
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i, b := range bufs {
		r := Malformed
		if len(b) > offset && packet.Parse(b[offset:], &p) {
			r = t.decide(&p, clock)
		}
		out[i] = r
		t.tally.Add(r, 1)
	}
}
