package nat

import (
	"container/heap"
	"net/netip"
	"time"

	"github.com/boothwire/boothwire/nat/internal/stun"
)

// DELAYED-RESPONSE, an attribute of our own, by which a client learns with one
// packet each way whether a NAT's binding outlives an idle time. Its type is of the
// comprehension-optional range for designated experts (RFC 8489, section 18.3),
// unassigned there in 2026: a server that does not know it answers at once, without
// it.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------------------------------+-------------------------------+
//	|         Type = 0xC257         |          Length = 4           |
//	+-------------------------------+-------------------------------+
//	|                     Delay in milliseconds                     |
//	+---------------------------------------------------------------+
//
// In a Binding request it asks that the response be held back for that long,
// 1 to 300,000 ms. The response carries it with the same delay and is sent once,
// from the address that the request was sent to. If the server cannot, because the
// delay is another or too many responses wait, it answers at once with delay 0. A
// request that is repeated (same source and transaction) while its response waits
// is not answered again. A client that is told 0 asks later, or another server.
const attrDelayedResponse stun.Attr = 0xC257

// delayMost is the longest delay; the default timeout of a binding in RFC 4787,
// section 4.3, is 300 s.
const delayMost = 300 * time.Second

const (
	// delaysMost responses wait at once, of about 300 bytes each.
	delaysMost = 4096
	// delaysPerSource is for one address, or one /64 of IPv6. Many devices may share
	// it behind a carrier's NAT, but each asks once for some minutes.
	delaysPerSource = 16
)

// A delayKey is what makes a request the same.
type delayKey struct {
	sock int
	from netip.AddrPort
	id   stun.ID
}

// A delayed response waits to be sent.
type delayed struct {
	key    delayKey
	source netip.Prefix
	due    time.Time
	reply  []byte
	via    int // the socket it is sent from
}

// delays are the responses that wait, the next one first. They have no clock: the
// caller asks for next, waits, and takes what is due.
type delays struct {
	queue    delayHeap
	known    map[delayKey]bool
	bySource map[netip.Prefix]int
}

func newDelays() *delays {
	return &delays{known: make(map[delayKey]bool), bySource: make(map[netip.Prefix]int)}
}

// waits reports whether the response to this request is waiting already.
func (d *delays) waits(key delayKey) bool { return d.known[key] }

// room reports whether one more may wait for source, for that long. The last half of
// the room is for ever shorter delays: who forges sources to fill it with the longest
// would else need no more than 14 packets a second.
func (d *delays) room(source netip.Prefix, delay time.Duration) bool {
	left := min(delaysMost-len(d.queue), delaysMost/2)
	return left > 0 && delay <= delayMost*time.Duration(left)/(delaysMost/2) && d.bySource[source] < delaysPerSource
}

// add puts a response in, and reports whether it is the next one now.
func (d *delays) add(r delayed) (first bool) {
	heap.Push(&d.queue, r)
	d.known[r.key] = true
	d.bySource[r.source]++
	return d.queue[0].key == r.key
}

// next is when something is due.
func (d *delays) next() (due time.Time, ok bool) {
	if len(d.queue) == 0 {
		return time.Time{}, false
	}
	return d.queue[0].due, true
}

// take removes one response that is due.
func (d *delays) take(now time.Time) (r delayed, ok bool) {
	if due, ok := d.next(); !ok || due.After(now) {
		return delayed{}, false
	}
	r = heap.Pop(&d.queue).(delayed)
	delete(d.known, r.key)
	if d.bySource[r.source]--; d.bySource[r.source] == 0 {
		delete(d.bySource, r.source)
	}
	return r, true
}

type delayHeap []delayed

func (h delayHeap) Len() int           { return len(h) }
func (h delayHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h delayHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *delayHeap) Push(x any)        { *h = append(*h, x.(delayed)) }
func (h *delayHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = delayed{}
	*h = old[:len(old)-1]
	return last
}
