// Package queue is what waits to be written to one end of a leg: bounded in bytes
// and in age, so that a slow last mile costs packets, which WireGuard's passengers
// repair, and not seconds of delay, which nobody can.
package queue

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/boothwire/boothwire/relay/internal/wire"
)

const (
	// Limit is how many bytes of packets wait at most: 26 ms of 20 Mbit/s, and as
	// much as one write takes.
	Limit = 64 << 10

	// Hard is how old a packet may become. Target is the age that a queue may keep up
	// for Hard: one that never gets below it in that time is standing, and its oldest
	// packets go (as CoDel, RFC 8289, with the age at the head).
	Hard   = 100 * time.Millisecond
	Target = 20 * time.Millisecond

	// Small frames, WireGuard's handshakes and keepalives and the relay's own words,
	// go before all others.
	small      = 160
	smallLimit = 8 << 10
	reserve    = 512 // beyond smallLimit, for the relay's own words

	grain = 4 << 10 // bytes that share a time

	keep, keepMarks = 256, 16 // what an idle queue holds: bytes, and marks of 16
)

// A Queue hands frames to a writer goroutine that lives while there are any. What
// comes while it writes leaves with the next write, all at once. Its methods are
// safe for concurrent use.
type Queue struct {
	write func([]byte) error // of whole frames, by one goroutine at a time
	pool  *sync.Pool         // of *[]byte with Limit+MaxFrame capacity
	epoch time.Time
	start func() // run, made once

	try   func([]byte) (left bool, err error) // write that does not wait; nil: there is none
	flush func() error                        // waits for what try left

	mu      sync.Mutex
	bulk    []byte
	from    int    // where in bulk what was not dropped begins
	marks   []mark // of bulk, the oldest first
	small   []byte
	buf     *[]byte // that bulk is in
	above   time.Duration
	writing bool
	left    bool // by try
	err     error
	idle    chan struct{} // closed when the writer ends; nil: nobody waits for that

	stats Stats
}

// A mark says when the frames before end were put; the marks before it say less.
type mark struct {
	end int
	at  time.Duration
}

// Stats counts what a Queue did.
type Stats struct {
	Writes, Bytes         uint64
	DroppedAge, DroppedBy uint64 // bytes that were too old, or too many

	// Ages counts writes by how long the oldest of their packets had waited: up to
	// each of AgeBounds, and longer. Those of small frames alone are not among them.
	Ages [len(AgeBounds) + 1]uint64
}

// AgeBounds are where the counts of Stats.Ages end.
var AgeBounds = [...]time.Duration{time.Millisecond, 5 * time.Millisecond, Target, 50 * time.Millisecond, Hard}

func (s *Stats) waited(age time.Duration) {
	n := 0
	for n < len(AgeBounds) && age > AgeBounds[n] {
		n++
	}
	s.Ages[n]++
}

// NewPool returns the pool of buffers that many queues share.
func NewPool() *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, 0, Limit); return &b }}
}

// New returns an empty queue.
func New(pool *sync.Pool, write func([]byte) error) *Queue {
	q := &Queue{write: write, pool: pool, epoch: time.Now()}
	q.start = q.run
	return q
}

// direct is below how many bytes Pass writes by itself: a few packets, for which
// another goroutine costs more than it brings.
const direct = 8 << 10

// Direct lets Pass write: try is a write that does not wait, and reports whether it
// left something, for which flush waits. It is called before the Queue is used.
func (q *Queue) Direct(try func([]byte) (left bool, err error), flush func() error) {
	q.try, q.flush = try, flush
}

// Pass is Put for a caller that may as well write by itself, if that does not wait.
func (q *Queue) Pass(b []byte) error {
	if q.try == nil || len(b) >= direct {
		return q.Put(b)
	}
	q.mu.Lock()
	if q.writing || q.err != nil {
		q.mu.Unlock()
		return q.Put(b)
	}
	q.writing = true
	q.stats.Writes++
	q.stats.Bytes += uint64(len(b))
	q.mu.Unlock()
	left, err := q.try(b)
	if err != nil {
		q.Fail(err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.left = left; left || q.waits() {
		go q.start()
	} else {
		q.rest()
	}
	return err
}

// waits reports whether there is something to write; mu is held.
func (q *Queue) waits() bool { return q.err == nil && (q.from < len(q.bulk) || len(q.small) > 0) }

// rest is when nothing is left to write; mu is held.
func (q *Queue) rest() {
	q.writing = false
	q.release()
	if q.idle != nil {
		close(q.idle)
		q.idle = nil
	}
}

// Put queues whole, valid frames. It never blocks and never keeps b. It returns the
// error of an earlier write.
func (q *Queue) Put(b []byte) error {
	now := time.Since(q.epoch) + 1
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return q.err
	}
	for len(b) > 0 {
		// A run of large frames, then a run of small ones.
		n := run(b, false)
		q.putBulk(b[:n], now)
		b = b[n:]
		n = run(b, true)
		q.putSmall(b[:n], now)
		b = b[n:]
	}
	if !q.writing {
		q.writing = true
		go q.start()
	}
	return nil
}

// run is the length of the frames at the head of b that are small, or are not.
func run(b []byte, isSmall bool) (n int) {
	for n < len(b) {
		m := frame(b[n:])
		if (m <= small) != isSmall {
			break
		}
		n += m
	}
	return n
}

// frame is the length of the frame at the head of b.
func frame(b []byte) int { return wire.Header + int(binary.BigEndian.Uint16(b)&^wire.Control) }

// putSmall puts frames of at most small bytes. Packets that find no room wait with the
// large ones: a batch of them may be nothing but the acknowledgements of a download.
func (q *Queue) putSmall(b []byte, now time.Duration) {
	if len(q.small)+len(b) <= smallLimit {
		q.small = append(q.small, b...)
		return
	}
	for len(b) > 0 {
		n, room := frame(b), smallLimit-len(q.small)
		switch t := typeOf(b); {
		case n <= room || own(t) && n <= room+reserve:
			q.small = append(q.small, b[:n]...)
		case t == wire.Packet:
			for n < len(b) && typeOf(b[n:]) == wire.Packet {
				n += frame(b[n:])
			}
			q.putBulk(b[:n], now)
		default:
			q.stats.DroppedBy += uint64(n)
		}
		b = b[n:]
	}
}

// typeOf is that of the frame at the head of b.
func typeOf(b []byte) wire.Type {
	if binary.BigEndian.Uint16(b)&wire.Control == 0 {
		return wire.Packet
	}
	return wire.Type(b[wire.Header])
}

// own reports whether the relay says this once: what is lost of it is not said again.
func own(t wire.Type) bool {
	return t == wire.Ready || t == wire.Peer || t == wire.Drain || t == wire.Bye
}

func (q *Queue) putBulk(b []byte, now time.Duration) {
	if over := len(b) - Limit; over > 0 { // more than fits: the newest of it
		cut := 0
		for cut < over {
			cut += frame(b[cut:])
		}
		q.stats.DroppedBy += uint64(cut)
		b = b[cut:]
	}
	if len(b) == 0 {
		return
	}
	for len(q.bulk)-q.from+len(b) > Limit {
		q.stats.DroppedBy += q.dropFirst()
	}
	if q.buf == nil {
		q.buf = q.pool.Get().(*[]byte)
		q.bulk = (*q.buf)[:0]
	}
	if len(q.bulk)+len(b) > Limit { // what was dropped makes room
		n := copy(q.bulk, q.bulk[q.from:])
		q.bulk = q.bulk[:n]
		for i := range q.marks {
			q.marks[i].end -= q.from
		}
		q.from = 0
	}
	for len(b) > 0 {
		n := 0
		for n < len(b) && n < grain {
			n += frame(b[n:])
		}
		q.bulk = append(q.bulk, b[:n]...)
		q.marks = append(q.marks, mark{len(q.bulk), now})
		b = b[n:]
	}
}

// dropFirst drops the oldest frames and says how many bytes they were.
func (q *Queue) dropFirst() uint64 {
	m := q.marks[0]
	n := m.end - q.from
	q.from = m.end
	q.marks = q.marks[:copy(q.marks, q.marks[1:])]
	return uint64(n)
}

// age drops what is too old.
func (q *Queue) age(now time.Duration) {
	for len(q.marks) > 0 && now-q.marks[0].at > Hard {
		q.stats.DroppedAge += q.dropFirst()
	}
	switch {
	case len(q.marks) == 0 || now-q.marks[0].at < Target:
		q.above = 0
	case q.above == 0:
		q.above = now
	case now-q.above > Hard:
		q.stats.DroppedAge += q.dropFirst()
		q.above = now
	}
}

// run writes until nothing is left.
func (q *Queue) run() {
	var out []byte
	var spare *[]byte
	defer func() {
		if spare != nil {
			*spare = out[:0]
			q.pool.Put(spare)
		}
	}()
	for {
		q.mu.Lock()
		if q.left && q.err == nil {
			q.left = false
			q.mu.Unlock()
			if err := q.flush(); err != nil {
				q.Fail(err)
			}
			continue
		}
		now := time.Since(q.epoch) + 1
		q.age(now)
		if !q.waits() {
			q.rest()
			q.mu.Unlock()
			return
		}
		if spare == nil {
			spare = q.pool.Get().(*[]byte)
			out = (*spare)[:0]
		}
		var b []byte
		if len(q.small) > 0 || q.buf == nil {
			b = append(append(out[:0], q.small...), q.bulk[q.from:]...)
			out, q.small, q.bulk = b, q.small[:0], q.bulk[:0]
		} else {
			b = q.bulk[q.from:]
			spare, q.buf = q.buf, spare
			out, q.bulk = q.bulk, out[:0]
		}
		if len(q.marks) > 0 {
			q.stats.waited(now - q.marks[0].at)
		}
		q.from, q.marks = 0, q.marks[:0]
		q.stats.Writes++
		q.stats.Bytes += uint64(len(b))
		q.mu.Unlock()
		if err := q.write(b); err != nil {
			q.Fail(err)
		}
	}
}

// release gives the buffers of an empty queue back; mu is held.
func (q *Queue) release() {
	if q.buf != nil {
		*q.buf = q.bulk[:0]
		q.pool.Put(q.buf)
	}
	q.buf, q.bulk, q.from, q.above = nil, nil, 0, 0
	// A little is kept, so that the next packet costs no allocation.
	if q.small = q.small[:0]; cap(q.small) > keep {
		q.small = nil
	}
	if q.marks = q.marks[:0]; cap(q.marks) > keepMarks {
		q.marks = nil
	}
}

// Fail makes every further Put fail and drops what waits. It does not unblock a
// write that is under way: closing the connection does.
func (q *Queue) Fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
}

// Flush waits until nothing is left to write, or for d.
func (q *Queue) Flush(d time.Duration) {
	q.mu.Lock()
	if !q.writing {
		q.mu.Unlock()
		return
	}
	if q.idle == nil {
		q.idle = make(chan struct{})
	}
	idle := q.idle
	q.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
	}
}

// Stats returns the counters as they are now.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stats
}
