package userspace

import (
	"os"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/gateway/internal/shape"
)

// queuePackets is how many packets may wait in all: 84 ms of a line of 1 Gbit/s. At
// an MTU of 1280 they are 10.5 MB, touched only as far as packets ever waited.
const queuePackets = 8192

// queue hands packets from the decrypting side to the encrypting side, in the order
// and at the times that a shape.Scheduler says. Many write, one reads. Writers copy
// in under the lock; the reader copies out without it, from slots that are its own
// until its next call.
type queue struct {
	start time.Time // of the scheduler's clock
	tally *reach.Tally
	wake  chan struct{} // of size 1: there may be something to read
	timer *time.Timer   // the reader's own
	taken []int32       // the reader's own: slots, of which
	given int           // so many went out

	mu       sync.Mutex
	packets  *shape.Scheduler
	sleeping bool  // the reader waits,
	until    int64 // at most until then
	closed   bool
}

func newQueue(slot int, uplink int64, tally *reach.Tally) *queue {
	return &queue{
		start: time.Now(), tally: tally, wake: make(chan struct{}, 1), timer: time.NewTimer(time.Hour),
		taken:   make([]int32, 0, conn.IdealBatchSize),
		packets: shape.New(shape.Config{Packets: queuePackets, Size: slot, Line: uplink}),
	}
}

// set and remove tell of the sessions whose packets are pushed.
func (q *queue) set(n uint32, up, down int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.packets.Set(n, up, down)
	q.rouse() // a higher limit is due earlier
}

func (q *queue) remove(n uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.packets.Remove(n)
}

// lock and unlock bracket a writer's calls of push.
func (q *queue) lock() { q.mu.Lock() }

func (q *queue) unlock() {
	q.count()
	q.rouse()
	q.mu.Unlock()
}

// push copies one packet in and returns the copy, for its writer to change until its
// next call or unlock; nil when it was dropped.
func (q *queue) push(now time.Time, v reach.Verdict, packet []byte) []byte {
	if q.closed {
		return nil
	}
	d := shape.Up
	if v.ToDevice {
		d = shape.Down
	}
	return q.packets.Push(int64(now.Sub(q.start)), v.Session, d, v.Flow, packet)
}

// rouse wakes the reader if it would sleep for too long.
func (q *queue) rouse() {
	if q.sleeping && (q.closed || q.packets.Ready() < q.until) {
		q.sleeping = false
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// count hands on what the scheduler dropped.
func (q *queue) count() {
	full, late := q.packets.Dropped()
	if full > 0 {
		q.tally.Add(reach.QueueFull, full)
	}
	if late > 0 {
		q.tally.Add(reach.QueueLate, late)
	}
}

// pop waits for packets and copies as many as bufs takes, each to offset of its
// buffer; os.ErrClosed after close. For one reader at a time.
func (q *queue) pop(bufs [][]byte, sizes []int, offset int) (int, error) {
	for q.given == len(q.taken) {
		until, err := q.take()
		if err != nil {
			return 0, err
		}
		if len(q.taken) == 0 {
			q.sleep(until)
		}
	}
	n := min(len(bufs), len(q.taken)-q.given)
	for i := range n {
		sizes[i] = copy(bufs[i][offset:], q.packets.Packet(q.taken[q.given+i]))
	}
	q.given += n
	return n, nil
}

// take takes the packets that are due, and says when others will be.
func (q *queue) take() (until int64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return 0, os.ErrClosed
	}
	q.packets.Release(q.taken)
	n, until := q.packets.Take(q.now(), q.taken[:cap(q.taken)])
	q.taken, q.given = q.taken[:n], 0
	q.sleeping, q.until = n == 0, until
	q.count()
	return until, nil
}

func (q *queue) now() int64 { return int64(time.Since(q.start)) }

// sleep returns when there may be something to read.
func (q *queue) sleep(until int64) {
	if until == shape.Never {
		<-q.wake
		return
	}
	q.timer.Reset(time.Duration(until - q.now()))
	select {
	case <-q.wake:
	case <-q.timer.C:
	}
}

// close wakes the reader for good.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.sleeping = true
	q.rouse()
}
