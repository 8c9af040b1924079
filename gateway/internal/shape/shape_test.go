package shape

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// push hands in a packet of size bytes that says whose it is.
func push(s *Scheduler, now int64, n uint32, d Direction, flow uint8, seq uint32, size int) bool {
	b := make([]byte, size)
	binary.BigEndian.PutUint32(b, n)
	binary.BigEndian.PutUint32(b[4:], seq)
	b[8], b[9] = byte(d), flow
	return s.Push(now, n, d, flow, b) != nil
}

// passed takes all that may go until the given time, and returns its bytes by session.
func passed(s *Scheduler, from, until int64) map[uint32]int64 {
	got := make(map[uint32]int64)
	var slots [16]int32
	for now := from; now < until; {
		n, at := s.Take(now, slots[:])
		for _, i := range slots[:n] {
			b := s.Packet(i)
			got[binary.BigEndian.Uint32(b)] += int64(len(b))
		}
		s.Release(slots[:n])
		if n == 0 {
			now = max(now+1, min(at, until))
		}
	}
	return got
}

func TestLimits(t *testing.T) {
	const rate = 2_000_000
	s := New(Config{Packets: 4096, Size: full})
	s.Set(1, rate, 0)
	s.Set(2, 0, rate/2)
	s.Set(3, 0, 0)
	for seq := range uint32(800) {
		push(s, 0, 1, Up, 0, seq, 300)
		push(s, 0, 2, Down, 0, seq, 300)
		push(s, 0, 3, Down, 0, seq, 300)
	}
	got := passed(s, 0, second/2)
	if got[3] != 800*300 {
		t.Errorf("without a limit %d bytes passed at once", got[3])
	}
	for n, want := range map[uint32]int64{1: rate / 16, 2: rate / 32} {
		if got[n] < want*98/100 || got[n] > want*104/100 {
			t.Errorf("session %d: %d bytes in half a second, want %d", n, got[n], want)
		}
	}
	// The rest goes at once when the limits do.
	s.Set(1, 0, 0)
	s.Set(2, 0, 0)
	passed(s, second/2, second/2+1)
	if s.Len() != 0 {
		t.Errorf("%d packets wait for no limit", s.Len())
	}
}

// A session that splits what it sends into many flows, and each into moments, gets
// what a plain one gets and its credit.
func TestNobodyGainsByManyFlows(t *testing.T) {
	const rate, sessions = 10_000_000, 10
	s := New(Config{Packets: 8192, Size: full, Line: rate})
	for n := range uint32(sessions) {
		s.Set(n, 0, 0)
	}
	total := make(map[uint32]int64)
	const step = millisecond / 2
	for now := int64(0); now < 4*second; now += step {
		for n := range uint32(sessions) {
			for i := range uint32(2) {
				flow := uint8(0)
				if n == 0 {
					flow = uint8(rand.Uint32())
				}
				push(s, now, n, Up, flow, i, 200)
			}
		}
		for n, bytes := range passed(s, now, now+step) {
			total[n] += bytes
		}
	}
	fair := int64(rate/8*4) / sessions
	if most := fair + creditRate/8*4 + 2*full; total[0] > most {
		t.Errorf("%d bytes passed of the hostile session, at most %d are right", total[0], most)
	}
	for n := uint32(1); n < sessions; n++ {
		if total[n] < fair*9/10 {
			t.Errorf("session %d: %d bytes of %d", n, total[n], fair)
		}
	}
}

// Flows of a session do not share a queue while one is idle, whatever their hashes.
func TestFlowsKeepApart(t *testing.T) {
	s := New(Config{Packets: 512, Size: full, Line: 1_000_000})
	s.Set(0, 0, 0)
	for seq := range uint32(100) {
		push(s, 0, 0, Up, 1, seq, full)
	}
	var slots [8]int32
	now := second // the first flow has had its time to be fresh
	if n, _ := s.Take(now, slots[:]); n == 0 {
		t.Fatal("nothing passes")
	}
	for i := range uint8(flowQueues - 1) {
		push(s, now, 0, Up, 1+(i+1)*flowQueues, 0, 60)
	}
	for range flowQueues - 1 {
		now += second
		if n, _ := s.Take(now, slots[:1]); n != 1 || len(s.Packet(slots[0])) != 60 {
			t.Fatal("a small packet stands behind another flow's")
		}
	}
}

// Memory that is full costs those who filled it.
func TestFattestPays(t *testing.T) {
	s := New(Config{Packets: 600, Size: full, Line: 1000})
	for n := range uint32(10) {
		s.Set(n, 0, 0)
	}
	for seq := range uint32(1000) {
		push(s, 0, 0, Up, uint8(seq), seq, 100)
	}
	for n := uint32(1); n < 10; n++ {
		for seq := range uint32(30) {
			if !push(s, 0, n, Up, 0, seq, 100) {
				t.Fatalf("session %d: packet %d of 30 was refused", n, seq)
			}
		}
	}
	if full, _ := s.Dropped(); full != 1000+9*30-600 {
		t.Errorf("%d dropped", full)
	}
	for n := uint32(1); n < 10; n++ {
		if q := s.ways[Up].sessions[n].queues; q.packets != 30 {
			t.Errorf("session %d has %d packets of 30", n, q.packets)
		}
	}
	for n := range uint32(10) {
		s.Remove(n)
	}
	if s.Len() != 0 || s.ways[Up].active != 0 {
		t.Errorf("%d packets, %d sessions are left", s.Len(), s.ways[Up].active)
	}
	if push(s, 0, 3, Up, 0, 0, 100) || push(s, 0, 99, Up, 0, 0, 100) {
		t.Error("a packet of no session")
	}
}

func TestLengths(t *testing.T) {
	s := New(Config{Packets: 4, Size: full})
	s.Set(0, 0, 0)
	if push(s, 0, 0, Up, 0, 0, full+1) {
		t.Error("a packet beyond the size")
	}
	for seq := range uint32(4) {
		push(s, 0, 0, Up, 0, seq, 100)
	}
	var slots [4]int32
	if n, _ := s.Take(0, slots[:]); n != 4 {
		t.Fatalf("%d packets", n)
	}
	if push(s, 0, 0, Up, 0, 4, 100) {
		t.Error("a packet has been put where one is read")
	}
	s.Release(slots[:])
	if !push(s, 0, 0, Up, 0, 5, 100) {
		t.Error("no room after all was read")
	}
}

// chaos does what choices say, and stops where a packet comes twice, late in its
// flow, or from nowhere, where one is missing, or where memory is lost.
func chaos(t *testing.T, choose func(n int) int) {
	s := New(Config{Packets: 50, Size: full, Line: int64(choose(3)) * 300_000})
	type flowOf struct {
		n    uint32
		d    Direction
		flow uint8
	}
	last := make(map[flowOf]uint32)
	now, seq := int64(0), uint32(0)
	in, out := 0, 0
	read := func() int {
		slots := make([]int32, 1+choose(20))
		ready := s.Ready()
		k, at := s.Take(now, slots)
		if k > 0 && ready > now || k == 0 && at != Never && ready < at && ready > now {
			t.Fatalf("%d packets at %d, then at %d; ready at %d", k, now, at, ready)
		}
		for _, i := range slots[:k] {
			b := s.Packet(i)
			f := flowOf{binary.BigEndian.Uint32(b), Direction(b[8]), b[9]}
			no := binary.BigEndian.Uint32(b[4:])
			if no <= last[f] || no > seq {
				t.Fatalf("%+v: packet %d after %d, of %d", f, no, last[f], seq)
			}
			last[f] = no
			out++
		}
		s.Release(slots[:k])
		if k == 0 && at != Never {
			if at <= now {
				t.Fatalf("nothing at %d, and more at %d", now, at)
			}
			now = at
		} else if k == 0 {
			return -1
		}
		return k
	}
	dropped := func() int {
		full, late := s.Dropped()
		return int(full + late)
	}
	lost, removed := 0, 0
	for range 400 {
		n := uint32(choose(6))
		switch choose(12) {
		case 0:
			before := s.Len()
			s.Remove(n)
			removed += before - s.Len()
		case 1, 2:
			s.Set(n, int64(choose(3))*100_000, int64(choose(3))*100_000)
		case 3:
			now += int64(choose(200)) * millisecond
		case 4, 5, 6:
			read()
		default:
			seq++
			if s.ways[0].session(n) == nil {
				if push(s, now, n, Up, 0, seq, 100) {
					t.Fatal("a packet of no session was taken")
				}
				continue
			}
			in++
			push(s, now, n, Direction(choose(2)), uint8(choose(3)), seq, 20+choose(full-20))
		}
		lost += dropped()
		if s.Len() != in-out-lost-removed {
			t.Fatalf("%d packets wait; %d came, %d went, %d were dropped and %d removed", s.Len(), in, out, lost, removed)
		}
	}
	for read() >= 0 {
	}
	if s.Len() != 0 || s.ways[0].active+s.ways[1].active != 0 {
		t.Fatalf("%d packets stay", s.Len())
	}
}

func TestChaos(t *testing.T) {
	for seed := range uint64(100) {
		chaos(t, rand.New(rand.NewPCG(seed, 1)).IntN)
	}
}

func FuzzScheduler(f *testing.F) {
	f.Add([]byte("some choices of what to do, and some more of them"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		i := 0
		chaos(t, func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			i++
			return int(choices[i%len(choices)]) * (i + 7) % n
		})
	})
}

func TestAllocatesNothing(t *testing.T) {
	s, step := stepper(1000)
	for range 20 {
		step()
	}
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if s.Len() != 0 {
		t.Errorf("%d packets are left", s.Len())
	}
}

// stepper has 128 packets of different sessions go through.
func stepper(sessions int) (*Scheduler, func()) {
	s := New(Config{Packets: 8192, Size: full})
	for n := range sessions {
		s.Set(uint32(n), 0, 0)
	}
	b := make([]byte, full)
	slots := make([]int32, 128)
	n := 0
	return s, func() {
		for range slots {
			n++
			s.Push(0, uint32(n%sessions), Direction(n%2), uint8(n), b)
		}
		if k, _ := s.Take(0, slots); k != len(slots) {
			panic("lost packets")
		}
		s.Release(slots)
	}
}

func BenchmarkScheduler(b *testing.B) {
	for name, sessions := range map[string]int{"one": 1, "thousand": 1000} {
		b.Run(name, func(b *testing.B) {
			_, step := stepper(sessions)
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/128, "ns/packet")
		})
	}
}
