package bind

import (
	"net"
	"sync"

	"golang.zx2c4.com/wireguard/conn"
)

// streamAhead is how many packets of all streams may wait for the device, some 5 ms of
// 1 Gbit/s. It is what a burst fills while WireGuard is busy; more would be delay.
const streamAhead = 512

// A streamQueue is what the streams' readers have for the device. Each place has a
// buffer of its own, made when it is first used, that a reader exchanges for a full one.
type streamQueue struct {
	wake chan struct{} // has a token when something may be there

	reading sync.Mutex // held by who takes out
	mu      sync.Mutex
	ring    [streamAhead]place
	first   int
	count   int
}

// A place is for one packet from a stream.
type place struct {
	buf  []byte
	size int
	kind kind
	src  *source
}

// put takes packets of src out of bufs, in which it leaves other buffers, and returns
// how many found no room. What is not WireGuard's goes nowhere.
func (q *streamQueue) put(src *source, bufs [][]byte, sizes []int) (lost int) {
	q.mu.Lock()
	for i, size := range sizes {
		k := classify(bufs[i][:size])
		if k == kindOther || k == kindSTUN {
			continue
		}
		if q.count == len(q.ring) {
			lost++
			continue
		}
		s := &q.ring[(q.first+q.count)%len(q.ring)]
		if s.buf == nil {
			s.buf = make([]byte, streamPacket)
		}
		s.buf, bufs[i] = bufs[i], s.buf
		s.size, s.kind, s.src = size, k, src
		q.count++
	}
	some := q.count > 0
	q.mu.Unlock()
	if some {
		q.notify()
	}
	return lost
}

func (q *streamQueue) notify() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// clear drops everything.
func (q *streamQueue) clear() {
	q.reading.Lock()
	defer q.reading.Unlock()
	_, n := q.waiting(len(q.ring))
	q.taken(n)
}

// waiting returns where the first of at most most packets is. They stay where they are,
// and nobody else touches them, until taken. q.reading is held.
func (q *streamQueue) waiting(most int) (first, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.first, min(q.count, most)
}

func (q *streamQueue) taken(n int) {
	q.mu.Lock()
	q.first, q.count = (q.first+n)%len(q.ring), q.count-n
	more := q.count > 0
	q.mu.Unlock()
	if more {
		q.notify()
	}
}

// streamReceiver is the conn.ReceiveFunc of all streams.
type streamReceiver struct {
	bind   *Bind
	closed chan struct{}
}

func (r *streamReceiver) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	for {
		select {
		case <-r.closed:
			return 0, net.ErrClosed
		default:
		}
		select {
		case <-r.closed:
			return 0, net.ErrClosed
		case <-r.bind.streams.wake:
		}
		if n := r.take(bufs, sizes, eps); n > 0 {
			return n, nil
		}
	}
}

func (r *streamReceiver) take(bufs [][]byte, sizes []int, eps []conn.Endpoint) int {
	q := &r.bind.streams
	q.reading.Lock()
	defer q.reading.Unlock()
	first, n := q.waiting(len(bufs))
	var run run
	for i := range n {
		s := &q.ring[(first+i)%len(q.ring)]
		sizes[i], eps[i] = copy(bufs[i], s.buf[:s.size]), s.src.peer.ep
		if (s.kind != kindTransport || r.bind.waiting.Load() != 0) && r.bind.arrived(s.kind, bufs[i][:sizes[i]]) {
			sizes[i] = 0
		}
		if s.src != run.src {
			run.end(r.bind)
			run = runOf(s.src)
		}
		run.packets++
		run.bytes += s.size
		s.src = nil // or its peer would live on here
	}
	run.end(r.bind)
	q.taken(n)
	return n
}
