package relay

import (
	"slices"
	"time"
)

// A keeper decides when a Conn makes its next leg, and where. It has no clock: times go
// in with what happened, and out. Both ends run one, and meet because each prefers the
// first relay of their common list, and looks elsewhere at random times while alone.
//
//	        made              peer
//	none ─────────► alone ◄─────────► paired
//	 ▲ ▲              │                 │
//	 │ │ lost         │ drain           │
//	 │ └──────────────┤                 │
//	 └────── leaving ◄┴─────────────────┘
//	 lost
//
// It is about the newest leg only; an older one carries on until that is paired.
type keeper struct {
	relays int
	rnd    func(d time.Duration) time.Duration // below d

	state state
	at    int         // the relay of the newest leg
	due   time.Time   // of the next leg; zero: none
	fails int         // attempts since a leg was paired
	full  int         // the latest of these that a relay had no room for
	met   bool        // one was, ever
	moves int         // steps in search of the other end
	seeks bool        // without a leg, go on in the search
	torn  []time.Time // when legs were lost without a word, the latest tornMost

	drained time.Time // the latest leg that was sent away
	hasty   int       // of those before, how many were soon after another
}

type state int

const (
	none state = iota
	alone
	paired
	leaving
)

const (
	// firstRetry spreads those who lost one relay at once, retryMin doubles up to
	// retryMost, which passes at most from a relay's start until the last of 10,000 legs
	// has called: 3,300 a second, who wait there for their turn.
	firstRetry = 500 * time.Millisecond
	retryMin   = 250 * time.Millisecond
	retryMost  = 4 * time.Second

	// fullMin doubles up to fullMost while the relay is there and takes no more: fewer
	// calls, not more, then bring all in the soonest.
	fullMin  = 2 * time.Second
	fullMost = 16 * time.Second

	// How long a leg waits for the other end before it is looked for at the next
	// relay: at the first of the list, where it will come to, longer.
	searchFirst = 12 * time.Second
	searchElse  = 4 * time.Second
	searchMost  = 14 * time.Second // and as much again: a relay lets an end wait for 30 s

	// A relay takes the sixth replacement of a leg within a minute for a clone. One
	// that was lost without a word may still stand there.
	tornMost = 4
	tornFor  = 62 * time.Second

	drainSpread = 2500 * time.Millisecond // at most, of those that one relay sends away
	drainCalm   = 10 * time.Second        // between two of them; a relay that does nothing else is called less and less
)

// made is after a leg at a relay.
func (k *keeper) made(now time.Time, at int) {
	if k.state == alone {
		k.moves++
	}
	k.state, k.at, k.seeks, k.full = alone, at, false, 0
	k.search(now)
}

// search plans to look elsewhere.
func (k *keeper) search(now time.Time) {
	k.due = time.Time{}
	if k.relays < 2 {
		return
	}
	wait := searchElse
	if k.at == 0 && !k.met {
		wait = searchFirst
	}
	wait = min(wait<<min(k.moves/4, 2), searchMost)
	k.due = now.Add(wait + k.rnd(wait))
}

// peer is when the other end comes and goes.
func (k *keeper) peer(now time.Time, there bool) {
	switch {
	case k.state != alone && k.state != paired:
	case there:
		k.state, k.met, k.fails, k.moves, k.due = paired, true, 0, 0, time.Time{}
	case k.state == paired:
		k.state = alone
		k.search(now)
	}
}

// drain is when the relay will close the leg in d.
func (k *keeper) drain(now time.Time, d time.Duration) {
	if k.state == none || k.state == leaving {
		return
	}
	k.state = leaving
	wait := k.rnd(min(max(d/2, time.Millisecond), drainSpread))
	if !k.drained.IsZero() && now.Sub(k.drained) < drainCalm {
		wait += doubled(retryMin, k.hasty, retryMost)
		k.hasty++
	} else {
		k.hasty = 0
	}
	k.drained = now
	k.due = now.Add(wait)
}

// lost is when the leg ended; torn: without a word of the relay.
func (k *keeper) lost(now time.Time, torn bool) {
	if torn {
		if len(k.torn) == tornMost {
			k.torn = slices.Delete(k.torn, 0, 1)
		}
		k.torn = append(k.torn, now)
	}
	switch k.state {
	case alone:
		if !torn { // the relay let it wait no longer
			k.seeks = true
			k.moves++
		}
		k.state = none
		k.retry(now)
		k.fails++
	default:
		k.state, k.fails = none, 0
		k.retry(now)
	}
}

// failed is when no relay took a leg; full: because the last one had no room.
func (k *keeper) failed(now time.Time, full bool) {
	k.fails++
	if k.full++; !full {
		k.full = 0
	}
	if k.state == alone {
		k.moves++
		k.search(now)
		return
	}
	k.retry(now)
}

func (k *keeper) retry(now time.Time) {
	wait := k.rnd(firstRetry)
	if k.fails > 0 {
		most := doubled(retryMin, k.fails, retryMost)
		if k.full > 0 {
			most = doubled(fullMin, k.full-1, fullMost)
		}
		wait = most/2 + k.rnd(most/2)
	}
	k.due = now.Add(wait)
	if len(k.torn) == tornMost && k.due.Before(k.torn[0].Add(tornFor)) {
		k.due = k.torn[0].Add(tornFor)
	}
}

// limit is how long a call may take: a relay that was too slow gets longer.
func (k *keeper) limit() time.Duration { return doubled(dialFor, k.fails, dialMost) }

// doubled is first, doubled so many times, and at most most.
func doubled(first time.Duration, times int, most time.Duration) time.Duration {
	return min(first<<min(times, 10), most)
}

// renewed is when there are later tokens, perhaps for other relays.
func (k *keeper) renewed(now time.Time, relays int) {
	k.relays = relays
	if k.state == none && k.fails > 0 && len(k.torn) < tornMost {
		k.fails, k.due = 0, now
	}
	k.at %= relays
}

// order is where the next leg is tried.
func (k *keeper) order() (list []int) {
	begin := k.at // where it was, and the other end is
	search := k.state == alone || k.seeks
	switch {
	case search && k.at != 0:
		begin = 0
	case search:
		begin = 1 + k.moves/2%max(k.relays-1, 1)
	case k.state == leaving:
		begin++
	}
	for i := range k.relays {
		if n := (begin + i) % k.relays; n != k.at || !search {
			list = append(list, n)
		}
	}
	if k.seeks { // else it has a leg there
		list = append(list, k.at)
	}
	return list
}
