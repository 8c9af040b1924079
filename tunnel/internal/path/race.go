// Package path chooses among the addresses of a far end. Everything in it is
// pure: addresses, answers and times in, where to send out.
package path

import (
	"net/netip"
	"slices"
	"time"
)

// Patience is how long the preferred address may stay silent before packets go
// to another one too: longer than a round trip to the other side of the world.
const Patience = 300 * time.Millisecond

// A Race sends to the preferred address first and to one more, in turn, while
// nothing answers. The address that answers wins and carries everything, until
// it is lost. The zero Race has no address. It is not safe for concurrent use.
//
//	        Patience                 an address answers
//	alone ───────────► with another ────────────────────► won
//	  ▲                 │   ▲  └─Patience: the next one     │ Lost: at once
//	  └── SetAddrs ─────┘   └───────────────────────────────┘
type Race struct {
	addrs   []netip.AddrPort // the preferred first
	primary netip.AddrPort
	also    netip.AddrPort
	turn    int           // index in addrs of the newest also
	due     time.Duration // when the next one joins; 0: at the next Step
	won     bool
}

// Paths returns where to send: primary, and also unless it is invalid. Both are
// invalid while there is no address.
func (r *Race) Paths() (primary, also netip.AddrPort) { return r.primary, r.also }

// Won reports whether the primary address has answered.
func (r *Race) Won() bool { return r.won }

// SetAddrs replaces the addresses. A winner that is still among them stays; any
// other way the race starts again.
func (r *Race) SetAddrs(addrs []netip.AddrPort) {
	var unique []netip.AddrPort
	for _, a := range addrs {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		if !slices.Contains(unique, a) {
			unique = append(unique, a)
		}
	}
	r.addrs = unique
	if r.won && slices.Contains(unique, r.primary) {
		return
	}
	r.restart()
}

func (r *Race) restart() {
	r.primary, r.also, r.turn, r.due, r.won = netip.AddrPort{}, netip.AddrPort{}, 0, 0, false
	if len(r.addrs) > 0 {
		r.primary = r.addrs[0]
	}
}

// Step takes the time and reports whether Paths changed.
func (r *Race) Step(now time.Duration) bool {
	if r.won || !r.primary.IsValid() {
		return false
	}
	if r.due == 0 {
		r.due = now + Patience
		return true
	}
	if now < r.due || r.alone() {
		return false
	}
	r.due = now + Patience
	for range r.addrs {
		r.turn = (r.turn + 1) % len(r.addrs)
		if a := r.addrs[r.turn]; a != r.primary {
			changed := r.also != a
			r.also = a
			return changed
		}
	}
	return false
}

// alone reports whether there is no address but the primary.
func (r *Race) alone() bool {
	return len(r.addrs) == 0 || len(r.addrs) == 1 && r.addrs[0] == r.primary
}

// Next returns when Step is due, 0 when it is not.
func (r *Race) Next() time.Duration {
	if r.won || !r.primary.IsValid() || r.alone() {
		return 0
	}
	return r.due
}

// Answered takes the address that a proof came from and reports whether Paths
// changed. It may be one that was not in the race: a far end that moved.
func (r *Race) Answered(from netip.AddrPort) bool {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	changed := r.primary != from || r.also.IsValid()
	r.primary, r.also, r.won = from, netip.AddrPort{}, true
	return changed
}

// Lost takes back the win of an address that stays silent: the others join at
// the next Step, and the silent one stays in the race.
func (r *Race) Lost(now time.Duration) {
	if !r.won {
		return
	}
	r.won = false
	r.due = max(now, 1)
	r.turn = slices.Index(r.addrs, r.primary)
}
