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
	numbers  []uint32 // given back
	highest  uint32   // the next that nobody had
}

// session is what the packet path needs of a Session.
type session struct {
	id        string
	number    uint32
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
	resumed bool   // his connections may have begun elsewhere

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
		live = &session{id: s.ID, number: t.number()}
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
		live.operators = append(live.operators, adopt(known, o, old == nil && s.Resumed))
	}
	for i, a := range live.addresses {
		t.members[a] = member{session: live, device: uint8(i)}
	}
	for _, o := range live.operators {
		t.members[o.address] = member{session: live, operator: o}
	}
	return nil
}

// number returns a number that no session has.
func (t *Table) number() uint32 {
	if last := len(t.numbers) - 1; last >= 0 {
		n := t.numbers[last]
		t.numbers = t.numbers[:last]
		return n
	}
	t.highest++
	return t.highest - 1
}

// Number returns the number by which verdicts name a session, a small one that goes
// to another when the session is removed; false for one unknown.
func (t *Table) Number(id string) (uint32, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := t.sessions[id]
	if s == nil {
		return 0, false
	}
	return s.number, true
}

// adopt returns the known operator with o's key and address, changed to o's
// ports, or a new one.
func adopt(known []*operator, o Operator, resumed bool) *operator {
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
	return &operator{key: o.Key, address: o.Address, ports: slices.Clone(o.Ports), resumed: resumed}
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
	t.numbers = append(t.numbers, s.number)
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
func (t *Table) Filter(bufs [][]byte, offset int, now time.Time, out []Verdict) {
	var p packet.Info
	var m match
	clock := now.UnixNano()
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i, b := range bufs {
		v := Verdict{Reason: Malformed}
		if len(b) > offset && packet.Parse(b[offset:], &p) {
			m.find(t, &p)
			v = t.decide(&p, &m, clock)
		}
		out[i] = v
		t.tally.Add(v.Reason, 1)
	}
}

// match is who a packet is from and to. It is kept from one packet to the next: most
// packets of a batch have the same two.
type match struct {
	src, dst      netip.Addr
	from, to      member
	known, target bool // whether from and to are anybody
}

func (m *match) find(t *Table, p *packet.Info) {
	if m.src != p.Src {
		m.src = p.Src
		m.from, m.known = t.members[p.Src]
	}
	if m.dst != p.Dst {
		m.dst = p.Dst
		m.to, m.target = t.members[p.Dst]
	}
}
