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
	"encoding/binary"
	"errors"
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

// Rest is how long an address that was given up goes to no one else.
const Rest = 24 * time.Hour

// ErrExhausted means that every address of a range is in use or at rest.
var ErrExhausted = errors.New("pool: no address is left")

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

type span struct{ first, last, next uint32 }

type entry struct {
	Address
	busy bool // in use by an open session, or kept for good
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
		Device:   {1, operators - 1, 1}, // not the network's own address
		Operator: {operators, nodes - 1, operators},
		Node:     {nodes, size - 2, nodes}, // not the broadcast address
	}
	return p, nil
}

// Prefix returns the whole range.
func (p *Pool) Prefix() netip.Prefix { return p.prefix }

func (p *Pool) addr(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], p.base+n)
	return netip.AddrFrom4(b)
}

// Load takes over what the store has; what does not fit the pool is ignored.
func (p *Pool) Load(a Address, busy bool) {
	r := p.ranges[a.Kind]
	if r == nil || !p.prefix.Contains(a.Addr) {
		return
	}
	b := a.Addr.As4()
	if n := binary.BigEndian.Uint32(b[:]) - p.base; n < r.first || n > r.last {
		return
	}
	e := &entry{a, busy}
	p.held[a.Addr], p.byName[holder{a.Kind, a.Holder}] = e, e
}

// Take returns the address of name, which is kept until Release: the one that it
// has or had, else one that nobody ever had, else the one that is longest at rest.
func (p *Pool) Take(kind Kind, name string, now time.Time) (Address, error) {
	if e := p.byName[holder{kind, name}]; e != nil {
		e.busy, e.Used = true, now
		return e.Address, nil
	}
	r := p.ranges[kind]
	var best *entry
	for range r.last - r.first + 1 {
		a := p.addr(r.next)
		if r.next++; r.next > r.last {
			r.next = r.first
		}
		e := p.held[a]
		if e == nil {
			return p.give(&entry{Address: Address{Addr: a}}, kind, name, now), nil
		}
		if !e.busy && now.Sub(e.Used) >= Rest && (best == nil || e.Used.Before(best.Used)) {
			best = e
		}
	}
	if best == nil {
		return Address{}, fmt.Errorf("%w for another %s", ErrExhausted, kind)
	}
	return p.give(best, kind, name, now), nil
}

func (p *Pool) give(e *entry, kind Kind, name string, now time.Time) Address {
	delete(p.byName, holder{e.Kind, e.Holder})
	e.Kind, e.Holder, e.Used, e.busy = kind, name, now, true
	p.held[e.Addr], p.byName[holder{kind, name}] = e, e
	return e.Address
}

// Release gives an address up; it rests, and its holder may have it back.
func (p *Pool) Release(kind Kind, name string, now time.Time) (Address, bool) {
	e := p.byName[holder{kind, name}]
	if e == nil {
		return Address{}, false
	}
	e.busy, e.Used = false, now
	return e.Address, true
}

// Return takes an address back that was given to name and that nobody has seen: it need
// not rest.
func (p *Pool) Return(kind Kind, name string) {
	if e := p.byName[holder{kind, name}]; e != nil {
		delete(p.byName, holder{kind, name})
		delete(p.held, e.Addr)
	}
}

// Of returns the address that name has or had.
func (p *Pool) Of(kind Kind, name string) (netip.Addr, bool) {
	e := p.byName[holder{kind, name}]
	if e == nil {
		return netip.Addr{}, false
	}
	return e.Addr, true
}

// Deny takes an address out of use that turned out to be somebody's: who has it here
// gets another.
func (p *Pool) Deny(a netip.Addr) {
	if e := p.held[a]; e != nil {
		delete(p.byName, holder{e.Kind, e.Holder})
	}
	p.held[a] = &entry{Address{Addr: a}, true}
}
