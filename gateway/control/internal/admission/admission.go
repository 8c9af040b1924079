// Package admission decides which device may shake hands with a node next, and when.
// It is pure: times and wakes come in, names come out.
//
// A node that is asked for more handshakes than it can make answers with cookies, and
// whoever is turned away waits for 5 s. So no more are woken in a second than it makes:
//
//	Ask ── nobody waits, and the node has room ──► goes at once
//	  └──► single ─┐
//	       moved  ─┼─ by class, then by age ──► Due
//	       batch  ─┘
//
// Nor are more than half a second's worth on their way at once: where devices, the node
// or whatever is between them make less than the pace, all that is woken beyond it only
// has them do things twice. Who has not arrived after 3 s counts no more.
//
// WireGuard's limiter counts by public address, so within a class whoever comes from an
// address that has had its share lets the others go first. It does not wait for more:
// the limiter works under load only, which is what the pace prevents.
package admission

import (
	"container/list"
	"net/netip"
	"time"
)

// Class is how urgent a wake is.
type Class int

// The classes, the most urgent first.
const (
	Single Class = iota // somebody waits for this device
	Moved               // its node was lost
	Batch               // one of many
	classes
)

// Wake is what waits.
type Wake struct {
	ID    string // of the session
	Class Class
	User  string     // who asked for it; more than a few of one are a batch
	From  netip.Addr // public address of the device, if it is known
}

const (
	// few is how many of a user's may wait before the next counts as one of a batch.
	few = 4
	// burstFor is how long a node's pace is saved up for: a handful go at once. It
	// stays below the 128 handshakes that wireguard-go takes for load.
	burstFor = 200 * time.Millisecond
	// flightsFor is how many seconds of the pace may be on their way at once. A device
	// arrives after two round trips and a half: at 200 ms each that is the whole pace. One
	// in ten that never arrives leaves the others room for it, too.
	flightsFor = 500 * time.Millisecond
	flightTime = 3 * time.Second
	// The limiter of wireguard-go, ratelimiter.go: packets a second of an address, and
	// at once.
	sharePace  = 20
	shareBurst = 5
	// searchFor bounds the search for one whose address has not had its share: 50 us
	// of each 3.3 ms.
	searchFor = 2048
	// maxShares bounds the addresses that are remembered.
	maxShares = 1 << 14
)

// Queue is who waits for one node. It is not safe for concurrent use.
type Queue struct {
	node    bucket
	waiting [classes]list.List // of *entry
	byID    map[string]*list.Element
	users   map[string]int
	shares  map[netip.Addr]*bucket
	gone    int // that went or left, ever

	flights list.List // of flight, the earliest first
	flying  map[string]*list.Element
}

// A flight is a wake that went and has not arrived.
type flight struct {
	id string
	at time.Time
}

type entry struct {
	Wake
	position int // when it was numbered
	gone     int // by then
}

// New returns a queue that lets pace wakes a second go.
func New(pace int, now time.Time) *Queue {
	q := &Queue{byID: make(map[string]*list.Element), users: make(map[string]int), shares: make(map[netip.Addr]*bucket), flying: make(map[string]*list.Element)}
	q.node = newBucket(float64(pace), max(1, float64(pace)*burstFor.Seconds()), now)
	return q
}

// Len is how many wait.
func (q *Queue) Len() int { return len(q.byID) }

// Ask reports whether w may go at once; if not it waits.
func (q *Queue) Ask(now time.Time, w Wake) bool {
	if q.byID[w.ID] != nil {
		return false
	}
	if len(q.byID) == 0 && q.depart(now, w.ID) {
		q.share(now, w.From)
		return true
	}
	if w.Class == Single && q.users[w.User] >= few {
		w.Class = Batch
	}
	q.users[w.User]++
	before := 0
	for c := range w.Class + 1 {
		before += q.waiting[c].Len()
	}
	q.byID[w.ID] = q.waiting[w.Class].PushBack(&entry{w, before + 1, q.gone})
	return false
}

// Leave takes out who need not wait any more.
func (q *Queue) Leave(id string) {
	if e := q.byID[id]; e != nil {
		q.remove(e)
	}
}

func (q *Queue) remove(e *list.Element) {
	w := e.Value.(*entry)
	q.waiting[w.Class].Remove(e)
	delete(q.byID, w.ID)
	q.gone++
	if q.users[w.User]--; q.users[w.User] == 0 {
		delete(q.users, w.User)
	}
}

// Due returns who may go now, in their order.
func (q *Queue) Due(now time.Time) (ids []string) {
	for len(q.byID) > 0 {
		e := q.next(now)
		w := e.Value.(*entry)
		if !q.depart(now, w.ID) {
			break
		}
		q.share(now, w.From)
		q.remove(e)
		ids = append(ids, w.ID)
	}
	return ids
}

// depart lets one go where there is room for it.
func (q *Queue) depart(now time.Time, id string) bool {
	q.land(now)
	if q.flights.Len() >= q.room() || !q.node.take(now) {
		return false
	}
	q.Arrived(id) // it went before, and goes again
	q.flying[id] = q.flights.PushBack(flight{id, now})
	return true
}

// room is how many may be on their way at once.
func (q *Queue) room() int { return max(1, int(q.node.pace*flightsFor.Seconds())) }

// land counts no more who should have arrived long ago.
func (q *Queue) land(now time.Time) {
	for e := q.flights.Front(); e != nil && now.Sub(e.Value.(flight).at) >= flightTime; e = q.flights.Front() {
		q.Arrived(e.Value.(flight).id)
	}
}

// Arrived makes room: the device of a wake that went has shaken hands, or never will.
func (q *Queue) Arrived(id string) {
	if e := q.flying[id]; e != nil {
		q.flights.Remove(e)
		delete(q.flying, id)
	}
}

// next is whose turn it is; somebody waits.
func (q *Queue) next(now time.Time) *list.Element {
	for c := range q.waiting {
		first := q.waiting[c].Front()
		n := 0
		for e := first; e != nil && n < searchFor; e = e.Next() {
			if s := q.shares[e.Value.(*entry).From]; s == nil || s.has(now) {
				return e
			}
			n++
		}
		if first != nil {
			return first
		}
	}
	panic("admission: nobody waits")
}

// share notes a handshake from an address.
func (q *Queue) share(now time.Time, from netip.Addr) {
	if !from.IsValid() {
		return
	}
	s := q.shares[from]
	if s == nil {
		if len(q.shares) >= maxShares {
			q.forget(now)
		}
		b := newBucket(sharePace, shareBurst, now)
		s = &b
		q.shares[from] = s
	}
	s.take(now)
}

// forget drops the addresses that have all of their share again, or all.
func (q *Queue) forget(now time.Time) {
	for a, s := range q.shares {
		if s.full(now) {
			delete(q.shares, a)
		}
	}
	if len(q.shares) >= maxShares {
		clear(q.shares)
	}
}

// Next returns when Due is to be called next; zero: nobody waits.
func (q *Queue) Next(now time.Time) time.Time {
	if len(q.byID) == 0 {
		return time.Time{}
	}
	q.land(now)
	if q.flights.Len() >= q.room() {
		return q.flights.Front().Value.(flight).at.Add(flightTime) // unless one arrives before
	}
	return q.node.when(now)
}

// Place is the place of who waits, 1 for whoever goes next, and about how long he will
// wait; ok is false for who does not. It is exact after Number, and after each Ask for
// whom was asked; in between those who leave, or come with more right, shift it.
func (q *Queue) Place(id string) (position int, wait time.Duration, ok bool) {
	e := q.byID[id]
	if e == nil {
		return 0, 0, false
	}
	w := e.Value.(*entry)
	position = max(1, w.position-(q.gone-w.gone))
	return position, time.Duration(float64(position) / q.node.pace * float64(time.Second)), true
}

// Number gives everybody his place, and calls moved for those whose place it changes;
// moved must not change the queue.
func (q *Queue) Number(moved func(id string)) {
	n := 0
	for c := range q.waiting {
		for e := q.waiting[c].Front(); e != nil; e = e.Next() {
			n++
			w := e.Value.(*entry)
			changed := w.position != n
			w.position, w.gone = n, q.gone
			if changed {
				moved(w.ID)
			}
		}
	}
}

// A bucket holds up to most tokens, and gets pace of them a second.
type bucket struct {
	pace, most, tokens float64
	at                 time.Time
}

func newBucket(pace, most float64, now time.Time) bucket { return bucket{pace, most, most, now} }

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.most, b.tokens+d.Seconds()*b.pace)
		b.at = now
	}
}

func (b *bucket) has(now time.Time) bool  { b.fill(now); return b.tokens >= 1-slack }
func (b *bucket) full(now time.Time) bool { b.fill(now); return b.tokens >= b.most-slack }

func (b *bucket) take(now time.Time) bool {
	if !b.has(now) {
		return false
	}
	b.tokens--
	return true
}

// when is when there is a token again.
func (b *bucket) when(now time.Time) time.Time {
	b.fill(now)
	if b.tokens >= 1-slack {
		return now
	}
	return now.Add(time.Duration((1 - b.tokens) / b.pace * float64(time.Second)))
}

// slack is what sums of fractions may be off by.
const slack = 1e-6
