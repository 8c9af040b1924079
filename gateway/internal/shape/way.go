package shape

// The credit with which a session's sparse packets go before other sessions, and how
// much of it may be saved up: three full packets' worth.
const (
	creditRate = 256_000 // bit/s
	creditSave = 120 * millisecond
)

// session is what one direction knows of a session all its life.
type session struct {
	limit  bucket
	credit bucket
	queues *queues // nil: nothing waits
}

// queues are what a session has while packets of its wait: in turns, or parked.
type queues struct {
	of          *session
	flows       [flowQueues]flow
	fresh, rest list
	packets     int32
	deficit     int32 // bytes
	links       [rings]links
	parked      bool
	index       int // in the heap of parked ones
}

// way is one direction of the node's line.
type way struct {
	pool     *pool
	line     bucket
	sessions []*session // by number; nil: there is none
	express  ring
	turns    ring
	parked   heap
	active   int64     // sessions with packets
	spare    []*queues // to use again
	late     uint64    // packets that CoDel dropped
}

// add lets a packet of a session wait for its turn, behind those of its flow.
func (w *way) add(now int64, s *session, hash uint8, packet []byte) int32 {
	q := s.queues
	if q == nil {
		q = w.begin(s)
	}
	slot := w.pool.put(now, packet)
	q.add(w.pool, slot, hash)
	switch {
	case q.packets > 1:
		w.hurry(q, now)
	case s.limit.open(now):
		w.lineUp(q, now)
	default:
		w.park(q)
	}
	return slot
}

func (w *way) begin(s *session) *queues {
	var q *queues
	if last := len(w.spare) - 1; last >= 0 {
		q, w.spare = w.spare[last], w.spare[:last]
	} else {
		q = new(queues)
	}
	*q = queues{of: s, fresh: empty, rest: empty, deficit: int32(w.pool.size)}
	s.queues = q
	w.active++
	return q
}

// end gives back the queues of a session without packets.
func (w *way) end(q *queues) {
	w.leave(q)
	q.of.queues = nil
	q.of = nil
	w.spare = append(w.spare, q)
	w.active--
}

// lineUp lets a session take its turns.
func (w *way) lineUp(q *queues, now int64) {
	w.turns.append(q)
	w.hurry(q, now)
}

// hurry lets a session that takes turns go before them, if it may.
func (w *way) hurry(q *queues, now int64) {
	if !q.parked && !q.links[express].in && q.sparse() && q.of.credit.open(now) {
		w.express.append(q)
	}
}

// park keeps a session until its limit is due.
func (w *way) park(q *queues) {
	w.leave(q)
	q.parked = true
	w.parked.push(q)
}

// leave takes a session out of where it waits.
func (w *way) leave(q *queues) {
	w.express.remove(q)
	w.turns.remove(q)
	if q.parked {
		w.parked.remove(q)
		q.parked = false
	}
}

// ready returns when the next packet may go; not later than now: it may already.
func (w *way) ready() int64 {
	switch {
	case w.active == 0:
		return Never
	case w.turns.head != nil:
		return w.line.due // 0 without a limit
	}
	return max(w.line.due, w.parked.first().of.limit.due)
}

// next returns the packet to send at now, or none and when to ask again.
func (w *way) next(now int64) (slot int32, at int64) {
	if w.active == 0 {
		return none, Never
	}
	if !w.line.open(now) {
		return none, w.line.due
	}
	for q := w.parked.first(); q != nil && q.of.limit.open(now); q = w.parked.first() {
		w.leave(q)
		w.lineUp(q, now)
	}
	for {
		q, first := w.choose(now)
		if q == nil {
			break
		}
		slot := q.take(w.pool, now, w.target(q.of), &w.late)
		if slot != none {
			w.charge(q, now, w.pool.slots[slot].length, first)
		}
		switch {
		case q.packets == 0:
			w.end(q)
		case !q.of.limit.open(now):
			w.park(q)
		}
		if slot != none {
			return slot, 0
		}
	}
	if q := w.parked.first(); q != nil {
		return none, q.of.limit.due
	}
	return none, Never
}

// choose returns the session that goes next, and whether it does before its turn.
func (w *way) choose(now int64) (q *queues, first bool) {
	for q = w.express.head; q != nil; q = w.express.head {
		if q.sparse() && q.of.credit.open(now) {
			return q, true
		}
		w.express.remove(q)
	}
	for q = w.turns.head; q != nil; q = w.turns.head {
		if q.deficit > 0 {
			return q, false
		}
		q.deficit += int32(w.pool.size)
		w.turns.remove(q)
		w.turns.append(q)
	}
	return nil, false
}

func (w *way) charge(q *queues, now int64, bytes int32, first bool) {
	q.deficit -= bytes
	w.line.spend(now, bytes, burst)
	q.of.limit.spend(now, bytes, burst)
	if first {
		q.of.credit.spend(now, bytes, creditSave)
	}
}

// standing is how many packets of a slow session may stand in its queue: with fewer,
// TCP of a few packets a round trip would lose one in ten.
const standing = 6

// target is CoDel's for a session: 5 ms, or what the standing packets take at the
// session's share of the line where that is longer. Without a limit nothing waits for
// one.
func (w *way) target(s *session) int64 {
	if w.line.rate == 0 && s.limit.rate == 0 {
		return 0
	}
	size := int64(w.pool.size)
	return max(target, standing*max(w.line.takes(size)*w.active, s.limit.takes(size)))
}
