package mux

import (
	"net/netip"
	"time"
)

const (
	// eager requests go to an address that has not been heard; of later ones every
	// fifth does. At one each 50 ms they are the first half second, in which both ends
	// begin.
	eager = 10
	// portsMost silent ports of one address are asked: a NAT maps one socket to one
	// port, or to one for each server that it asks.
	portsMost = 4
	// targetsMost addresses are remembered at once, each for targetFor after the last
	// request to it. What does not fit is asked as if it had been silent for long.
	targetsMost = 256
	targetFor   = 30 * time.Second
)

// targets counts what goes to addresses that the far end named and that do not
// answer. It outlasts agents: a far end that begins ever anew, or names third parties,
// has no more sent to them than the first time.
type targets struct {
	known map[netip.AddrPort]*target
	extra int // requests to what did not fit
}

type target struct {
	silent int  // requests since anything was heard
	heard  bool // ever
	last   time.Time
}

// may reports whether one more request may go to an address: an agent checks each
// pair at its full rate until the attempt ends, which is meant for the moment when
// both ends have begun, not for the addresses that lead nowhere.
func (t *targets) may(to netip.AddrPort, now time.Time) bool {
	e := t.known[to]
	if e == nil {
		t.expire(now)
		if t.ports(to.Addr()) >= portsMost {
			return false
		}
		if len(t.known) >= targetsMost {
			t.extra++
			return t.extra%5 == 0
		}
		e = t.add(to)
	} else if now.Sub(e.last) >= targetFor {
		e.silent = 0
	}
	e.last = now
	n := e.silent
	e.silent++
	return n < eager || n%5 == 0
}

// hear is when something came from an address; one that was silent makes room.
func (t *targets) hear(from netip.AddrPort, now time.Time) {
	e := t.known[from]
	if e == nil {
		t.expire(now)
		for a, old := range t.known {
			if len(t.known) < targetsMost {
				break
			}
			if !old.heard {
				delete(t.known, a)
			}
		}
		if len(t.known) >= targetsMost {
			return
		}
		e = t.add(from)
	}
	*e = target{heard: true, last: now}
}

func (t *targets) add(a netip.AddrPort) *target {
	if t.known == nil {
		t.known = make(map[netip.AddrPort]*target)
	}
	e := new(target)
	t.known[a] = e
	return e
}

func (t *targets) expire(now time.Time) {
	for a, e := range t.known {
		if now.Sub(e.last) >= targetFor {
			delete(t.known, a)
		}
	}
}

// ports is how many ports of a have never been heard.
func (t *targets) ports(a netip.Addr) (n int) {
	for to, e := range t.known {
		if to.Addr() == a && !e.heard {
			n++
		}
	}
	return n
}
