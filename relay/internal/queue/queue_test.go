package queue

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/relay/internal/wire"
)

// sink records what is written, and blocks while it is stopped.
type sink struct {
	mu   sync.Mutex
	got  [][]byte
	gate chan struct{} // nil: open
}

func (s *sink) write(b []byte) error {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, bytes.Clone(b))
	return nil
}

func (s *sink) frames(t *testing.T) (all [][]byte) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.got {
		for len(b) > 0 {
			_, body, n, err := wire.Next(b)
			if err != nil || n == 0 {
				t.Fatalf("a write of torn frames: %v", err)
			}
			all = append(all, body)
			b = b[n:]
		}
	}
	return all
}

func packet(id byte, size int) []byte { return wire.AppendPacket(nil, bytes.Repeat([]byte{id}, size)) }

func TestQueueKeepsOrderAndCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{gate: make(chan struct{})}
		q := New(NewPool(), s.write)
		q.Put(packet(1, 1300))
		synctest.Wait() // the writer is in its first write
		for i := byte(2); i < 12; i++ {
			q.Put(packet(i, 1300))
		}
		close(s.gate)
		synctest.Wait()
		if len(s.got) != 2 {
			t.Errorf("%d writes, want 2", len(s.got))
		}
		for i, f := range s.frames(t) {
			if f[0] != byte(i+1) {
				t.Fatalf("frame %d is %d", i, f[0])
			}
		}
	})
}

func TestQueueSmallFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{gate: make(chan struct{})}
		q := New(NewPool(), s.write)
		q.Put(packet(1, 1300))
		synctest.Wait()
		q.Put(append(packet(2, 1300), packet(3, 148)...))
		close(s.gate)
		synctest.Wait()
		var ids []byte
		for _, f := range s.frames(t) {
			ids = append(ids, f[0])
		}
		if !bytes.Equal(ids, []byte{1, 3, 2}) {
			t.Errorf("order %v", ids)
		}
	})
}

// The acknowledgements of a download come in batches of many small packets.
func TestQueueSmallBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{gate: make(chan struct{})}
		q := New(NewPool(), s.write)
		var batch []byte
		for range 256 {
			batch = append(batch, packet(1, 96)...)
		}
		q.Put(batch)
		close(s.gate)
		synctest.Wait()
		if n, lost := len(s.frames(t)), q.Stats().DroppedBy; n != 256 || lost != 0 {
			t.Errorf("%d of 256 packets came out, %d bytes were dropped", n, lost)
		}
	})
}

// What the relay says once is heard, whatever waits; answers to the other end's
// questions find no more room than packets.
func TestQueueOwnWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{gate: make(chan struct{})}
		q := New(NewPool(), s.write)
		q.Put(packet(1, 1300))
		synctest.Wait()
		for range 2000 {
			q.Put(wire.AppendControl(nil, wire.Pong, make([]byte, wire.EchoSize)...))
		}
		words := []wire.Type{wire.Peer, wire.Drain, wire.Bye}
		for _, w := range words {
			q.Put(wire.AppendControl(nil, w, 1, 2, 3, 4))
		}
		close(s.gate)
		synctest.Wait()
		var heard []wire.Type
		pongs := 0
		for _, b := range s.got {
			for len(b) > 0 {
				typ, _, n, _ := wire.Next(b)
				if b = b[n:]; typ == wire.Pong {
					pongs++
				} else if typ != wire.Packet {
					heard = append(heard, typ)
				}
			}
		}
		if !slices.Equal(heard, words) || pongs*11 > smallLimit {
			t.Errorf("heard %v and %d pongs", heard, pongs)
		}
	})
}

func TestQueueDropsOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{gate: make(chan struct{})}
		q := New(NewPool(), s.write)
		q.Put(packet(0, 1300))
		synctest.Wait()
		for i := range 100 {
			q.Put(packet(byte(i+1), 1300))
		}
		close(s.gate)
		synctest.Wait()
		all := s.frames(t)
		if n := len(all); n < 30 || n > 51 || all[n-1][0] != 100 || all[1][0] == 1 {
			t.Errorf("%d frames, the last is %d", n, all[n-1][0])
		}
		if st := q.Stats(); st.DroppedBy == 0 || st.DroppedAge != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestQueueDropsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{gate: make(chan struct{})}
		q := New(NewPool(), s.write)
		q.Put(packet(0, 1300))
		synctest.Wait()
		q.Put(packet(1, 1300))
		time.Sleep(Hard + time.Millisecond)
		q.Put(packet(2, 1300))
		close(s.gate)
		synctest.Wait()
		if all := s.frames(t); len(all) != 2 || all[1][0] != 2 {
			t.Errorf("%d frames", len(all))
		}
		if st := q.Stats(); st.DroppedAge != 1302 {
			t.Errorf("%+v", st)
		}
	})
}

// A standing queue, never below the target for long, loses its oldest packets.
func TestQueueStanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func([]byte) error { time.Sleep(30 * time.Millisecond); return nil }
		q := New(NewPool(), slow)
		for range 400 {
			q.Put(packet(1, 1300))
			time.Sleep(time.Millisecond)
		}
		q.Flush(time.Minute)
		if st := q.Stats(); st.DroppedAge == 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestQueueFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		q := New(NewPool(), func([]byte) error { return broken })
		q.Put(packet(1, 10))
		synctest.Wait()
		if err := q.Put(packet(1, 10)); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
}

// Whatever is put, what comes out is whole frames in order, and idle queues hold no
// buffer.
func TestQueueRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, pace := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(3, 4))
		s := new(sink)
		q := New(NewPool(), func(b []byte) error {
			time.Sleep(time.Duration(pace.IntN(40)) * time.Millisecond)
			return s.write(b)
		})
		for range 2000 {
			var b []byte
			for range r.IntN(40) {
				if r.IntN(8) == 0 {
					b = wire.AppendControl(b, wire.Token, make([]byte, r.IntN(2000))...)
				}
				b = append(b, packet(1, 1+r.IntN(5000))...)
				for range r.IntN(100) {
					b = append(b, packet(1, 96)...)
				}
			}
			q.Put(b)
			time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
		}
		q.Flush(time.Hour)
		s.frames(t)
		if q.buf != nil || q.bulk != nil || cap(q.small) > keep || cap(q.marks) > keepMarks {
			t.Error("an idle queue keeps its buffer")
		}
	})
}

func TestQueueAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has pools forget")
	}
	for _, size := range []int{100, 1300} {
		q := New(NewPool(), func([]byte) error { return nil })
		b := packet(1, size)
		if n := testing.AllocsPerRun(1000, func() {
			q.Put(b)
			q.wait()
		}); n != 0 {
			t.Errorf("%v allocations for a packet of %d bytes that finds an idle leg", n, size)
		}
	}
}

// wait is Flush without the allocations of a timer.
func (q *Queue) wait() {
	for {
		q.mu.Lock()
		busy := q.writing
		q.mu.Unlock()
		if !busy {
			return
		}
		runtime.Gosched()
	}
}

func BenchmarkPut(b *testing.B) {
	q := New(NewPool(), func([]byte) error { return nil })
	var batch []byte
	for range 16 {
		batch = append(batch, packet(1, 1300)...)
	}
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		q.Put(batch)
	}
}
