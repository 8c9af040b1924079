// Package pool gives out tunnel addresses: who gets which, pure and in memory. The
// store keeps what it decided.
//
// A pool is cut into three ranges, here for 10.166.0.0/16:
//
//	10.166.0.1   - 10.166.191.255  devices: an address stays with its device
//	10.166.192.0 - 10.166.254.255  operators: one for each way in
//	10.166.255.0 - 10.166.255.254  nodes: the addresses that answer proofs
package pool

import (
	"container/list"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// Kind says who holds an address.
type Kind string

// The kinds.
const (
	Device   Kind = "device"
	Operator Kind = "operator"
	Node     Kind = "node"
)

// A device's address is for people and their own firewalls as well, who remember it.
const restDevice = 24 * time.Hour

// An operator's is his for one way in, and is given up when his key is gone: node and
// device have let go of it, or its grants are past their end, and a node takes no grant
// with an address that another of its sessions has. So nothing of a tunnel outlives it.
// What may is TCP of a host with a system adapter: Linux sends what is not acknowledged
// again for 924.6 s (tcp_retries2 = 15), also to whoever has the address next, if that
// is in a session of the same device.
const restOperator = 20 * time.Minute

// ample is when an operator's address is as good as one that nobody ever had, so that
// not each of a large pool ends up remembered.
const ample = 24 * time.Hour

// Rest is how long an address of that kind that was given up goes to no one else.
func Rest(kind Kind) time.Duration {
	if kind == Operator {
		return restOperator
	}
	return restDevice
}

// Exhausted says that every address of a kind is in use or at rest.
type Exhausted struct {
	Kind Kind
	Usage
	Next time.Duration // until one has rested; 0: none is at rest
}

func (e *Exhausted) Error() string {
	text := fmt.Sprintf("pool: no address is left for another %s: %d in use, %d at rest", e.Kind, e.Busy, e.Resting)
	if e.Next > 0 {
		text += fmt.Sprintf(", the next for %v more", e.Next.Round(time.Second))
	}
	return text
}

// Usage is how many addresses of a kind there are. Those that are neither busy nor
// resting can be had.
type Usage struct{ Size, Busy, Resting int }

// Free is how many can be had.
func (u Usage) Free() int { return u.Size - u.Busy - u.Resting }

// Address is one address and its holder.
type Address struct {
	Addr   netip.Addr
	Kind   Kind
	Holder string    // a device's id, a node's name, an operator's opaque id
	Used   time.Time // last used, or given up
}

type holder struct {
	kind Kind
	name string
}

// Pool is the addresses of one deployment. It is not safe for concurrent use.
type Pool struct {
	prefix netip.Prefix
	base   uint32
	ranges map[Kind]*span
	held   map[netip.Addr]*entry
	byName map[holder]*entry
}

// span is a range of one kind. Each of its addresses is one of these: beyond next, and
// nobody ever had it; in back; or held, and then busy or in idle.
type span struct {
	kind              Kind
	first, last, next uint32
	back              []netip.Addr // given, and taken back before anybody saw it
	idle              *list.List   // of *entry, longest at rest first
	busy              int
}

type entry struct {
	Address
	at *list.Element // in idle; nil: in use by an open session, or kept for good
}

// New cuts up prefix, an IPv4 range of /8 to /24.
func New(prefix netip.Prefix) (*Pool, error) {
	if !prefix.IsValid() || !prefix.Addr().Is4() || prefix.Bits() < 8 || prefix.Bits() > 24 {
		return nil, fmt.Errorf("pool: %v is not an IPv4 range of /8 to /24", prefix)
	}
	prefix = prefix.Masked()
	a := prefix.Addr().As4()
	p := &Pool{
		prefix: prefix, base: binary.BigEndian.Uint32(a[:]),
		held: make(map[netip.Addr]*entry), byName: make(map[holder]*entry),
	}
	size := uint32(1) << (32 - prefix.Bits())
	// A small pool has an eighth for nodes instead of a /24.
	nodes := size - min(256, size/8)
	operators := size - size/4
	p.ranges = map[Kind]*span{
		Device:   newSpan(Device, 1, operators-1), // not the network's own address
		Operator: newSpan(Operator, operators, nodes-1),
		Node:     newSpan(Node, nodes, size-2), // not the broadcast address
	}
	return p, nil
}

func newSpan(kind Kind, first, last uint32) *span {
	return &span{kind: kind, first: first, last: last, next: first, idle: list.New()}
}

// Prefix returns the whole range.
func (p *Pool) Prefix() netip.Prefix { return p.prefix }

func (p *Pool) addr(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], p.base+n)
	return netip.AddrFrom4(b)
}

// Load takes over what the store has; what does not fit the pool is ignored. It is quick
// where what was given up longest ago comes first.
func (p *Pool) Load(a Address, busy bool) {
	r := p.spanOf(a.Addr)
	if r == nil || r.kind != a.Kind {
		return
	}
	e := &entry{Address: a}
	p.held[a.Addr], p.byName[holder{a.Kind, a.Holder}] = e, e
	if busy {
		r.busy++
	} else {
		r.lay(e)
	}
}

// lay puts e, which is not busy, where it comes by its time.
func (r *span) lay(e *entry) {
	at := r.idle.Back()
	for at != nil && at.Value.(*entry).Used.After(e.Used) {
		at = at.Prev()
	}
	if at == nil {
		e.at = r.idle.PushFront(e)
	} else {
		e.at = r.idle.InsertAfter(e, at)
	}
}

// use has e be busy.
func (r *span) use(e *entry) {
	if e.at != nil {
		r.idle.Remove(e.at)
		e.at = nil
		r.busy++
	}
}

// rested returns the address that is longest at rest, if that is long enough.
func (r *span) rested(now time.Time, enough time.Duration) *entry {
	if at := r.idle.Front(); at != nil && now.Sub(at.Value.(*entry).Used) >= enough {
		return at.Value.(*entry)
	}
	return nil
}

// fresh returns an address that nobody ever had; not valid: there is none.
func (p *Pool) fresh(r *span) netip.Addr {
	for n := len(r.back); n > 0; n = len(r.back) {
		a := r.back[n-1]
		if r.back = r.back[:n-1]; p.held[a] == nil {
			return a
		}
	}
	for ; r.next <= r.last; r.next++ {
		if a := p.addr(r.next); p.held[a] == nil {
			r.next++
			return a
		}
	}
	return netip.Addr{}
}

// Take returns the address of name, which is kept until Release: the one that it
// has or had, else one that nobody ever had, else the one that is longest at rest. An
// operator, who comes once, gets one that has rested amply before one that nobody had.
// It returns an *Exhausted where there is none.
func (p *Pool) Take(kind Kind, name string, now time.Time) (Address, error) {
	r := p.ranges[kind]
	if e := p.byName[holder{kind, name}]; e != nil {
		r.use(e)
		e.Used = now
		return e.Address, nil
	}
	var e *entry
	if kind == Operator {
		e = r.rested(now, ample)
	}
	if e == nil {
		if a := p.fresh(r); a.IsValid() {
			e = &entry{Address: Address{Addr: a}}
			r.busy++
		} else if e = r.rested(now, Rest(kind)); e == nil {
			return Address{}, r.exhausted(now)
		}
	}
	r.use(e)
	delete(p.byName, holder{e.Kind, e.Holder})
	e.Kind, e.Holder, e.Used = kind, name, now
	p.held[e.Addr], p.byName[holder{kind, name}] = e, e
	return e.Address, nil
}

func (r *span) exhausted(now time.Time) error {
	err := &Exhausted{Kind: r.kind, Usage: r.usage(now)}
	if at := r.idle.Front(); at != nil {
		err.Next = Rest(r.kind) - now.Sub(at.Value.(*entry).Used)
	}
	return err
}

// Size is how many addresses of a kind there are.
func (p *Pool) Size(kind Kind) int { return p.ranges[kind].size() }

func (r *span) size() int { return int(r.last - r.first + 1) }

// Usage is how many addresses of a kind there are, and are taken.
func (p *Pool) Usage(kind Kind, now time.Time) Usage { return p.ranges[kind].usage(now) }

func (r *span) usage(now time.Time) Usage {
	u := Usage{Size: r.size(), Busy: r.busy}
	for at := r.idle.Back(); at != nil && now.Sub(at.Value.(*entry).Used) < Rest(r.kind); at = at.Prev() {
		u.Resting++
	}
	return u
}

// Release gives an address up; it rests, and its holder may have it back. It reports
// whether it was in use.
func (p *Pool) Release(kind Kind, name string, now time.Time) (Address, bool) {
	e := p.byName[holder{kind, name}]
	if e == nil || e.at != nil {
		return Address{}, false
	}
	r := p.ranges[kind]
	e.Used = now
	r.busy--
	r.lay(e)
	return e.Address, true
}

// Return takes an address back that was given to name and that nobody has seen: it need
// not rest.
func (p *Pool) Return(kind Kind, name string) {
	e := p.byName[holder{kind, name}]
	if e == nil {
		return
	}
	r := p.ranges[kind]
	r.use(e)
	r.busy--
	r.back = append(r.back, e.Addr)
	delete(p.byName, holder{kind, name})
	delete(p.held, e.Addr)
}

// Of returns the address that name has or had.
func (p *Pool) Of(kind Kind, name string) (netip.Addr, bool) {
	e := p.byName[holder{kind, name}]
	if e == nil {
		return netip.Addr{}, false
	}
	return e.Addr, true
}

// Deny has an address rest that turned out to be somebody's: who has it here gets
// another.
func (p *Pool) Deny(a netip.Addr, now time.Time) {
	r := p.spanOf(a)
	if r == nil {
		return
	}
	if e := p.held[a]; e != nil {
		r.use(e)
		r.busy--
		delete(p.byName, holder{e.Kind, e.Holder})
	}
	e := &entry{Address: Address{Addr: a, Kind: r.kind, Used: now}}
	p.held[a] = e
	r.lay(e)
}

// spanOf is the range that a lies in; nil: none.
func (p *Pool) spanOf(a netip.Addr) *span {
	if !a.Is4() || !p.prefix.Contains(a) {
		return nil
	}
	b := a.As4()
	n := binary.BigEndian.Uint32(b[:]) - p.base
	for _, r := range p.ranges {
		if n >= r.first && n <= r.last {
			return r
		}
	}
	return nil
}
