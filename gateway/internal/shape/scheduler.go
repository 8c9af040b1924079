package shape

// Direction is whether packets go from devices or to them.
type Direction uint8

// The directions.
const (
	Up   Direction = iota // from a device
	Down                  // to one
	directions
)

// Config is what New needs.
type Config struct {
	Packets int   // how many may wait in all
	Size    int   // bytes of the longest
	Line    int64 // bit/s of all sessions in each direction; 0: no limit
}

// sessionPackets is how many packets of a session may wait in one direction, so that
// one alone cannot have all memory.
const sessionPackets = 1024

// Scheduler holds packets until their turn comes. Sessions are numbers, small ones:
// it has a place for each up to the highest. Times are ns of a clock that does not go
// back. It is not safe for concurrent use, and allocates only as it grows.
type Scheduler struct {
	pool    pool
	ways    [directions]way
	turn    Direction // whose packet is looked for first
	fattest *queues   // one that was, and may be
	full    uint64    // packets dropped for want of memory
}

// New returns a scheduler without sessions.
func New(cfg Config) *Scheduler {
	s := &Scheduler{pool: newPool(cfg.Packets, cfg.Size)}
	for i := range s.ways {
		w := &s.ways[i]
		w.pool, w.line.rate, w.turns.kind = &s.pool, cfg.Line, turns
	}
	return s
}

// Set begins a session or changes its limits, bit/s from its device and to it; 0: no
// limit. What waits goes on waiting by the new ones.
func (s *Scheduler) Set(n uint32, up, down int64) {
	for i, rate := range [directions]int64{up, down} {
		s.ways[i].set(n, rate)
	}
}

func (w *way) set(n uint32, rate int64) {
	if more := int(n) + 1 - len(w.sessions); more > 0 {
		w.sessions = append(w.sessions, make([]*session, more)...)
	}
	t := w.sessions[n]
	switch {
	case t == nil:
		w.sessions[n] = &session{limit: bucket{rate: rate}, credit: bucket{rate: creditRate}}
		return
	case t.limit.rate == rate:
		return
	}
	t.limit = bucket{rate: rate}
	if q := t.queues; q != nil && q.parked {
		w.park(q) // by the new limit
	}
}

// Remove ends a session, and drops what waits of it.
func (s *Scheduler) Remove(n uint32) {
	for i := range s.ways {
		w := &s.ways[i]
		t := w.session(n)
		if t == nil {
			continue
		}
		if q := t.queues; q != nil {
			for q.packets > 0 {
				q.evict(&s.pool)
			}
			w.end(q)
		}
		w.sessions[n] = nil
	}
}

func (w *way) session(n uint32) *session {
	if n >= uint32(len(w.sessions)) {
		return nil
	}
	return w.sessions[n]
}

// Push lets a packet of a session wait for its turn, and returns the copy that does,
// for its caller to change until the next call; nil: it was dropped. flow is a hash
// of what keeps its order.
func (s *Scheduler) Push(now int64, n uint32, d Direction, flow uint8, packet []byte) []byte {
	w := &s.ways[d]
	t := w.session(n)
	if t == nil || len(packet) > s.pool.size {
		return nil
	}
	if !s.makeRoom(t.queues) {
		s.full++
		return nil
	}
	slot := w.add(now, t, flow, packet)
	if s.fattest == nil || t.queues.packets > s.fattest.packets {
		s.fattest = t.queues
	}
	return s.pool.packet(slot)
}

// makeRoom sees to it that one more packet of the session with these queues, nil if
// none of its waits, may wait: another may have to go.
func (s *Scheduler) makeRoom(q *queues) bool {
	if q != nil && q.packets >= sessionPackets {
		s.evict(q)
		return true
	}
	if len(s.pool.free) > 0 {
		return true
	}
	if s.fattest == nil {
		return false
	}
	var its int32
	if q != nil {
		its = q.packets
	}
	if s.fattest.packets <= its {
		s.search()
	}
	if s.fattest.packets < max(its, 2) {
		return false
	}
	s.evict(s.fattest)
	return true
}

func (s *Scheduler) evict(q *queues) {
	q.evict(&s.pool)
	s.full++
}

// search finds the fattest session of all.
func (s *Scheduler) search() {
	for i := range s.ways {
		for _, t := range s.ways[i].sessions {
			if t != nil && t.queues != nil && t.queues.packets > s.fattest.packets {
				s.fattest = t.queues
			}
		}
	}
}

// Take fills slots with the packets to send at now, in their order, and returns how
// many there are; when there is none, also when to ask again. Each is the caller's
// until Release.
func (s *Scheduler) Take(now int64, slots []int32) (n int, at int64) {
	at = Never
	for misses := 0; n < len(slots) && misses < len(s.ways); {
		s.turn = (s.turn + 1) % directions
		slot, due := s.ways[s.turn].next(now)
		if slot == none {
			misses++
			at = min(at, due)
			continue
		}
		misses = 0
		slots[n] = slot
		n++
	}
	return n, at
}

// Ready returns the time from which Take has something; Never if nothing waits.
func (s *Scheduler) Ready() int64 { return min(s.ways[Up].ready(), s.ways[Down].ready()) }

// Len returns how many packets there are: those that wait, and those that were taken
// and not yet released.
func (s *Scheduler) Len() int { return len(s.pool.slots) - len(s.pool.free) }

// Packet is what a slot holds.
func (s *Scheduler) Packet(slot int32) []byte { return s.pool.packet(slot) }

// Release gives slots back.
func (s *Scheduler) Release(slots []int32) {
	for _, i := range slots {
		s.pool.release(i)
	}
}

// Dropped returns how many packets were dropped since the last call: for want of
// memory, and because their flow had stood in the queue for too long.
func (s *Scheduler) Dropped() (full, late uint64) {
	full, s.full = s.full, 0
	for i := range s.ways {
		late += s.ways[i].late
		s.ways[i].late = 0
	}
	return full, late
}
