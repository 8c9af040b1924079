package shape

// flowQueues is how many queues a session has. A flow that has none takes an idle
// one; only when there is none does it share another's.
const flowQueues = 8

// flow is one queue of a session.
type flow struct {
	head, tail int32
	packets    int32
	deficit    int32
	hash       uint8 // of the flow that has it
	next       int8  // behind it in its list
	in         kind
	aqm        codel
}

// kind is the list in which a flow is.
type kind uint8

const (
	idle  kind = iota
	fresh      // was empty when its packets came, and has not had its turn
	rest
)

// list is a queue of flows, by index.
type list struct{ head, tail int8 }

var empty = list{-1, -1}

func (q *queues) enlist(l *list, i int8, k kind) {
	q.flows[i].next, q.flows[i].in = -1, k
	if l.head < 0 {
		l.head = i
	} else {
		q.flows[l.tail].next = i
	}
	l.tail = i
}

// unlist takes out the first of l.
func (q *queues) unlist(l *list) {
	i := l.head
	l.head = q.flows[i].next
	q.flows[i].in = idle
}

// find returns the queue of a flow.
func (q *queues) find(hash uint8) int8 {
	first := int8(hash % flowQueues)
	place := int8(-1)
	for k := range int8(flowQueues) {
		i := (first + k) % flowQueues
		f := &q.flows[i]
		if f.in == idle && place < 0 {
			place = i
		}
		if f.in != idle && f.hash == hash {
			return i
		}
	}
	if place < 0 {
		return first
	}
	q.flows[place].hash = hash
	return place
}

// add puts a packet at the end of its flow's queue.
func (q *queues) add(p *pool, slot int32, hash uint8) {
	i := q.find(hash)
	f := &q.flows[i]
	if f.packets == 0 {
		f.head = slot
	} else {
		p.slots[f.tail].next = slot
	}
	f.tail = slot
	f.packets++
	q.packets++
	if f.in == idle {
		f.deficit = int32(p.size)
		f.aqm = codel{}
		q.enlist(&q.fresh, i, fresh)
	}
}

// pop takes the oldest packet of f, which has one.
func (q *queues) pop(p *pool, f *flow) int32 {
	i := f.head
	f.head = p.slots[i].next
	f.packets--
	q.packets--
	return i
}

// sparse reports whether a packet waits whose flow was empty before it.
func (q *queues) sparse() bool { return q.fresh.head >= 0 }

// take returns the session's next packet, or none when all that waited were dropped;
// dropped counts those. limit is CoDel's target, 0: it drops nothing.
func (q *queues) take(p *pool, now, limit int64, dropped *uint64) int32 {
	for q.packets > 0 {
		l := &q.fresh
		if l.head < 0 {
			l = &q.rest
		}
		i := l.head
		f := &q.flows[i]
		if f.deficit <= 0 && f.packets > 0 {
			f.deficit += int32(p.size)
			q.unlist(l)
			q.enlist(&q.rest, i, rest)
			continue
		}
		slot := none
		for f.packets > 0 {
			slot = q.pop(p, f)
			if limit == 0 || !f.aqm.drops(now, now-p.slots[slot].since, limit, f.packets == 0) {
				break
			}
			p.release(slot)
			*dropped++
			slot = none
		}
		if f.packets == 0 {
			// Not fresh again before the others had their turn.
			fromFresh := l == &q.fresh
			q.unlist(l)
			if fromFresh && q.rest.head >= 0 {
				q.enlist(&q.rest, i, rest)
			}
		}
		if slot != none {
			f.deficit -= p.slots[slot].length
			return slot
		}
	}
	return none
}

// evict drops the oldest packet of the longest flow.
func (q *queues) evict(p *pool) {
	longest := &q.flows[0]
	for i := range q.flows {
		if f := &q.flows[i]; f.packets > longest.packets {
			longest = f
		}
	}
	p.release(q.pop(p, longest))
}
