package reach

import "sync"

// queueLen is how many packets of the tunnel's own may wait to be sent. An
// operator who floods with echoes loses answers, nothing else.
const queueLen = 64

// queue holds the tunnel's own packets until WireGuard reads them. Its buffers
// are kept and used again.
type queue struct {
	mu   sync.Mutex
	ring [queueLen][]byte
	head int
	n    int
}

// put copies b into the queue; it reports false when the queue is full.
func (q *queue) put(b []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == queueLen {
		return false
	}
	i := (q.head + q.n) % queueLen
	q.ring[i] = append(q.ring[i][:0], b...)
	q.n++
	return true
}

// take moves what waits into bufs and returns how many packets that were.
func (q *queue) take(bufs [][]byte, sizes []int, offset int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(bufs) && q.n > 0 {
		sizes[n] = copy(bufs[n][offset:], q.ring[q.head])
		q.head = (q.head + 1) % queueLen
		q.n--
		n++
	}
	return n
}
