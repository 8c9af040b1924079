package shape

// ring is a queue of sessions, by the links of its kind: a session may be in both.
type ring struct {
	kind       kindOfRing
	head, tail *queues
}

type kindOfRing uint8

const (
	express kindOfRing = iota // something sparse waits, and credit is left
	turns                     // may go
	rings
)

type links struct {
	prev, next *queues
	in         bool
}

func (r *ring) append(q *queues) {
	q.links[r.kind] = links{prev: r.tail, in: true}
	if r.tail != nil {
		r.tail.links[r.kind].next = q
	} else {
		r.head = q
	}
	r.tail = q
}

// remove takes a session out, if it is in.
func (r *ring) remove(q *queues) {
	l := q.links[r.kind]
	if !l.in {
		return
	}
	if l.prev != nil {
		l.prev.links[r.kind].next = l.next
	} else {
		r.head = l.next
	}
	if l.next != nil {
		l.next.links[r.kind].prev = l.prev
	} else {
		r.tail = l.prev
	}
	q.links[r.kind] = links{}
}

// heap orders sessions by when their limit is due.
type heap []*queues

func (h heap) first() *queues {
	if len(h) == 0 {
		return nil
	}
	return h[0]
}

func (h *heap) push(q *queues) {
	q.index = len(*h)
	*h = append(*h, q)
	h.up(q.index)
}

func (h *heap) remove(q *queues) {
	i, last := q.index, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	if i < last {
		h.down(i)
		h.up(i)
	}
}

func (h heap) less(i, j int) bool { return h[i].of.limit.due < h[j].of.limit.due }

func (h heap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h heap) up(i int) {
	for i > 0 && h.less(i, (i-1)/2) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h heap) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h.less(c+1, c) {
			c++
		}
		if !h.less(c, i) {
			return
		}
		h.swap(i, c)
		i = c
	}
}
