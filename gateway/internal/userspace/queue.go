package userspace

import (
	"os"
	"sync"
)

// queueLength is how many packets may wait for encryption. A batch of
// wireguard-go's is 128, so eight peers may each hand in a whole one at a time;
// at an MTU of 1280 the two slabs are 2.6 MB, touched only as far as they fill.
const queueLength = 1024

// slab is a run of packets in one piece of memory.
type slab struct {
	bytes   []byte
	lengths []int
}

// queue hands packets from the decrypting side to the encrypting side: writers
// fill one slab while the one reader empties the other, so that copying out
// holds no lock. A full queue refuses, as a router's does.
type queue struct {
	slot int // bytes for each packet

	mu     sync.Mutex
	filled sync.Cond
	in     slab
	closed bool

	out  slab // the reader's own
	next int  // of out
}

func newQueue(slot int) *queue {
	q := &queue{slot: slot}
	q.filled.L = &q.mu
	for _, s := range []*slab{&q.in, &q.out} {
		s.bytes = make([]byte, queueLength*slot)
		s.lengths = make([]int, 0, queueLength)
	}
	return q
}

// lock and unlock bracket a writer's calls of push.
func (q *queue) lock() { q.mu.Lock() }

func (q *queue) unlock() {
	some := len(q.in.lengths) > 0
	q.mu.Unlock()
	if some {
		q.filled.Signal()
	}
}

// push copies one packet in and returns the copy, for its writer to change until
// unlock; nil when the queue is full or closed, or the packet too long.
func (q *queue) push(packet []byte) []byte {
	n := len(q.in.lengths)
	if n == queueLength || q.closed || len(packet) > q.slot {
		return nil
	}
	b := q.in.bytes[n*q.slot:][:len(packet)]
	copy(b, packet)
	q.in.lengths = append(q.in.lengths, len(packet))
	return b
}

// undo takes back the last push.
func (q *queue) undo() { q.in.lengths = q.in.lengths[:len(q.in.lengths)-1] }

// pop waits for packets and copies as many as bufs takes, each to offset of its
// buffer; os.ErrClosed after close. For one reader at a time.
func (q *queue) pop(bufs [][]byte, sizes []int, offset int) (int, error) {
	if q.next == len(q.out.lengths) {
		if err := q.swap(); err != nil {
			return 0, err
		}
	}
	n := min(len(bufs), len(q.out.lengths)-q.next)
	for i := range n {
		sizes[i] = copy(bufs[i][offset:], q.out.bytes[q.next*q.slot:][:q.out.lengths[q.next]])
		q.next++
	}
	return n, nil
}

func (q *queue) swap() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.in.lengths) == 0 && !q.closed {
		q.filled.Wait()
	}
	if q.closed {
		return os.ErrClosed
	}
	q.out.lengths = q.out.lengths[:0]
	q.in, q.out = q.out, q.in
	q.next = 0
	return nil
}

// close wakes the reader for good.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.filled.Broadcast()
}
