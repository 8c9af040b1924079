package nat

import (
	"hash/maphash"
	"net/netip"
	"time"
)

const (
	// A source has 50 answers a second, and 200 at once: a probe sends about 30
	// requests, ICE about 10, and many devices may share a carrier's address. Whoever
	// forges a source can send it no more than that: 50 times 92 bytes.
	limitRate  = 50
	limitBurst = 200
	// limitSlots take 128 KiB. Sources share a slot by chance, as nobody knows which:
	// to silence one by forged sources takes limitSlots * limitRate = 819,200 requests
	// a second.
	limitSlots = 16384
)

// A limiter says how often a source is answered, in constant memory. Each slot
// holds when its debt is paid (the generic cell rate algorithm).
type limiter struct {
	seed  maphash.Seed
	began time.Time
	paid  []time.Duration
}

func newLimiter(now time.Time) *limiter {
	return &limiter{seed: maphash.MakeSeed(), began: now, paid: make([]time.Duration, limitSlots)}
}

func (l *limiter) allow(source netip.Prefix, now time.Time) bool {
	const each = time.Second / limitRate
	slot := &l.paid[maphash.Comparable(l.seed, source)%limitSlots]
	at := now.Sub(l.began)
	paid := max(*slot, at)
	if paid-at > (limitBurst-1)*each {
		return false
	}
	*slot = paid + each
	return true
}

// sourceOf is whom an address belongs to: an IPv6 host has a whole /64.
func sourceOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}
