//go:build linux

package relaybench

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// giveUpFor is how long no packet comes until those under way count as lost.
const giveUpFor = 20 * time.Millisecond

// began is where the stamps in packets count from: one process sends and receives.
var began = time.Now()

// stamp numbers the packets of a batch from seq, and dates them.
func (k *batch) stamp(seq uint64, at time.Duration) {
	for i, n := range k.at {
		binary.BigEndian.PutUint64(k.b[n:], seq+uint64(i))
		binary.BigEndian.PutUint64(k.b[n+8:], uint64(at))
	}
}

func stampOf(packet []byte) (seq uint64, at time.Duration) {
	return binary.BigEndian.Uint64(packet), time.Duration(binary.BigEndian.Uint64(packet[8:]))
}

// drain reads what a leg is told, and forgets it.
func (l *leg) drain() { _ = l.receive(func([]byte) {}, func() {}) }

// A loop is a sender that has a window of packets under way. As TCP does, it halves
// the window when packets were lost, and widens it by a batch for each window that
// arrived; so it fits itself to what a server's queue takes.
type loop struct {
	moved      chan struct{}
	sent       atomic.Uint64 // packets
	next, came atomic.Uint64 // the packet that comes next, and how many did
}

func (o *loop) receive(l *leg) error {
	var next, came uint64
	return l.receive(func(p []byte) {
		seq, _ := stampOf(p)
		next, came = max(next, seq+1), came+1
	}, func() {
		o.came.Store(came)
		o.next.Store(next)
		select {
		case o.moved <- struct{}{}:
		default:
		}
	})
}

func (o *loop) send(l *leg, each, most uint64) error {
	k := l.batch(int(each))
	var seq, from, lost, recovered, widened uint64 // from is where what is under way begins
	open := most
	late := time.NewTimer(giveUpFor)
	defer late.Stop()
	for {
		for seq+each-from > open {
			late.Reset(giveUpFor)
			silent := false
			select {
			case <-o.moved:
			case <-late.C:
				silent = true
			}
			came, next := o.came.Load(), o.next.Load()
			if from = max(from, next); silent {
				from = seq
			}
			missing := next - min(came, next)
			if silent || missing > lost && next > recovered {
				open, recovered, widened = max(each, open/2), seq, seq
			} else if next > widened {
				open, widened = min(most, open+each), seq
			}
			lost = missing
		}
		k.stamp(seq, 0)
		if _, err := l.Write(k.b); err != nil {
			return err
		}
		seq += each
		o.sent.Store(seq)
	}
}

// bulk sends as fast as a window of packets goes.
func (r *role) bulk(ctx context.Context) (res result, err error) {
	legs, err := r.first(ctx)
	if err != nil {
		return res, err
	}
	o := loop{moved: make(chan struct{}, 1)}
	ended := make(chan error, 2)
	go legs[0].drain()
	go func() { ended <- o.receive(legs[1]) }()
	go func() { ended <- o.send(legs[0], uint64(r.Batch), uint64(r.Open)) }()
	look := func() (now time.Time, used time.Duration, out, in int64, err error) {
		used, err = cpu(r.PID)
		return time.Now(), used, int64(o.sent.Load() * packetSize), int64(o.came.Load() * packetSize), err
	}
	time.Sleep(r.Warm)
	t0, cpu0, out0, in0, err := look()
	if err != nil {
		return res, err
	}
	select {
	case <-time.After(r.Window):
	case err := <-ended:
		return res, errors.Join(errors.New("a leg ended"), err)
	}
	t1, cpu1, out1, in1, err := look()
	return result{Took: t1.Sub(t0), CPU: cpu1 - cpu0, Sent: out1 - out0, Bytes: in1 - in0}, err
}

// A pace is packets at a steady rate, whatever becomes of them.
type pace struct {
	every time.Duration
	n     int  // packets of one Write
	live  bool // stamps say when a packet is sent
}

// send sends until the leg ends. A packet's stamp says when it was due, unless it is to
// be live, so that a server that stops reading makes packets late and not fewer.
func (p pace) send(l *leg, sent *atomic.Int64) {
	k := l.batch(p.n)
	due := time.Since(began)
	for seq := uint64(0); ; seq += uint64(p.n) {
		due += p.every
		if wait := due - time.Since(began); wait > 0 {
			time.Sleep(wait)
		}
		at := due
		if p.live {
			at = time.Since(began)
		}
		k.stamp(seq, at)
		if _, err := l.Write(k.b); err != nil {
			return
		}
		sent.Add(int64(p.n * packetSize))
	}
}

// overload is 30 Mbit/s.
var overload = pace{every: time.Millisecond * packetSize * 8 * 2 / 30_000, n: 2}

// mile sends more than the receiver's link carries.
func (r *role) mile(ctx context.Context) (res result, err error) {
	legs, err := r.first(ctx)
	if err != nil {
		return res, err
	}
	var sent, bytes atomic.Int64
	var on atomic.Bool
	var took []time.Duration // while on
	ended := make(chan error, 1)
	go legs[0].drain()
	go overload.send(legs[0], &sent)
	go func() {
		ended <- legs[1].receive(func(p []byte) {
			if on.Load() {
				_, at := stampOf(p)
				took = append(took, time.Since(began)-at)
				bytes.Add(int64(len(p)))
			}
		}, func() {})
	}()
	time.Sleep(4 * r.Warm) // until queues are as full as they get
	sent0 := sent.Load()
	on.Store(true)
	start := time.Now()
	select {
	case <-time.After(r.Window):
	case err := <-ended:
		return res, errors.Join(errors.New("the receiver's leg ended"), err)
	}
	on.Store(false)
	res = result{Took: time.Since(start), Sent: sent.Load() - sent0, Bytes: bytes.Load()}
	legs[1].Close()
	<-ended
	if len(took) == 0 {
		return res, errors.New("no packet came")
	}
	slices.Sort(took)
	res.P50 = took[len(took)/2]
	return res, nil
}

const bystanders = 4 // sessions beside the stopped one

var (
	steady = pace{every: 2 * time.Millisecond, n: 1, live: true} // of a bystander
	flood  = pace{every: time.Millisecond, n: 10}                // to a receiver that does not read
)

// stall has a receiver stop reading, and looks at what others get.
func (r *role) stall(ctx context.Context) (res result, err error) {
	stopped, err := r.first(ctx)
	if err != nil {
		return res, err
	}
	var sent atomic.Int64
	var phase atomic.Int32               // 0: not yet, 1: all read, 2: one does not, 3: over
	var gaps [bystanders][4]atomic.Int64 // the longest of each phase
	for i := range gaps {
		legs, err := r.pair(ctx)
		if err != nil {
			return res, err
		}
		go legs[0].drain()
		go steady.send(legs[0], &sent)
		var last, lastAt time.Duration
		go legs[1].receive(func(p []byte) {
			now := time.Since(began)
			_, at := stampOf(p)
			if lastAt > 0 {
				// What the sender was late by itself is no gap of the relay's.
				gap := now - last - max(0, at-lastAt-steady.every)
				longest := &gaps[i][phase.Load()]
				longest.Store(max(longest.Load(), int64(gap)))
			}
			last, lastAt = now, at
		}, func() {})
	}
	go stopped[0].drain()
	go flood.send(stopped[0], new(atomic.Int64))
	reads := make(chan struct{})
	go stopped[1].receive(func([]byte) {}, func() {
		if phase.Load() == 2 {
			close(reads)
			select {} // the connection stays open
		}
	})
	time.Sleep(r.Warm)
	phase.Store(1)
	time.Sleep(r.Window)
	phase.Store(2)
	select {
	case <-reads:
	case <-time.After(patience):
		return res, errors.New("the receiver that is to stop gets nothing")
	}
	time.Sleep(r.Window)
	phase.Store(3)
	for i := range gaps {
		res.Before = max(res.Before, time.Duration(gaps[i][1].Load()))
		res.Gap = max(res.Gap, time.Duration(gaps[i][2].Load()))
		if gaps[i][2].Load() == 0 {
			return res, errors.New("a session beside the stopped one gets nothing at all")
		}
	}
	return res, nil
}
