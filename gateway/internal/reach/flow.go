package reach

import (
	"time"

	"github.com/boothwire/boothwire/internal/packet"
)

// maxFlows bounds one operator's flow table. A browser of SMB shares beside an
// RDP session holds some tens; a full table is about 40 KiB. The flow unused for
// the longest makes way, so an operator can only crowd out himself.
const maxFlows = 512

// How long a flow may be silent. An idle TCP connection outlives the idle limit
// of its session (15 minutes by default), so in practice its session ends first.
const (
	flowOpening = 2 * time.Minute // SYN retries last 127 s
	flowOpen    = 4 * time.Hour
	flowClosing = 30 * time.Second // both FINs seen; late segments still pass
	flowUDP     = 3 * time.Minute
	flowEcho    = 30 * time.Second
)

// flowKey names one flow of one operator: echo flows hold the identifier in port
// and zero in devicePort.
type flowKey struct {
	port, devicePort uint16
	proto            uint8
	device           uint8 // index of the device's address
}

type flowState uint8

const (
	fromOperator flowState = 1 << iota // he sent the last FIN
	fromDevice                         // it did
	answered                           // the device sent at least one packet
)

type flow struct {
	key        flowKey
	state      flowState
	prev, next int32 // by last use; next also chains free slots
	seen       int64 // nanoseconds, the caller's clock
}

const none int32 = -1

// flows is one operator's flow table: a map into slots that are chained by last
// use. It allocates while it grows and never after. Not safe for concurrent use.
//
//	operator's packet -> opening -> device's packet -> open
//	open -> FIN from both -> closing -> silence -> gone
//	any -> RST -> gone;  any -> operator's SYN -> opening
type flows struct {
	index          map[flowKey]int32
	slots          []flow
	newest, oldest int32
	free           int32
	evicted        uint64
}

func newFlows() *flows {
	return &flows{index: make(map[flowKey]int32), newest: none, oldest: none, free: none}
}

// outbound records an operator's packet that may pass, and begins the flow if it
// is not known. TCP flows are picked up in the middle too: a node that was killed
// and came back must not break the connections that live through it, and the
// operator may reach that port anyway.
func (f *flows) outbound(k flowKey, flags uint8, now int64) {
	i, ok := f.lookup(k, now)
	if k.proto == packet.TCP && flags&packet.RST != 0 {
		if ok {
			f.remove(i)
		}
		return
	}
	if !ok {
		i = f.insert(k)
	}
	f.touch(i, now)
	if k.proto != packet.TCP {
		return
	}
	s := &f.slots[i]
	if flags&packet.SYN != 0 {
		s.state = 0
	}
	if flags&packet.FIN != 0 {
		s.state |= fromOperator
	}
}

// resume records a device's packet of a flow that began before the table was there.
func (f *flows) resume(k flowKey, now int64) {
	i := f.insert(k)
	f.touch(i, now)
	f.slots[i].state = answered
}

// inbound reports whether a device's packet belongs to a flow of the operator,
// and records it.
func (f *flows) inbound(k flowKey, flags uint8, now int64) bool {
	if k.proto == packet.TCP && flags&(packet.SYN|packet.ACK) == packet.SYN {
		return false // a device opens nothing, simultaneous open included
	}
	i, ok := f.lookup(k, now)
	if !ok {
		return false
	}
	if k.proto == packet.TCP && flags&packet.RST != 0 {
		f.remove(i)
		return true
	}
	f.touch(i, now)
	s := &f.slots[i]
	s.state |= answered
	if k.proto == packet.TCP && flags&packet.FIN != 0 {
		s.state |= fromDevice
	}
	return true
}

// lookup finds a live flow; one that was silent for too long is removed.
func (f *flows) lookup(k flowKey, now int64) (int32, bool) {
	i, ok := f.newest, f.newest != none && f.slots[f.newest].key == k
	if !ok {
		i, ok = f.index[k]
	}
	if !ok {
		return none, false
	}
	if s := &f.slots[i]; now-s.seen > int64(s.patience()) {
		f.remove(i)
		return none, false
	}
	return i, true
}

func (s *flow) patience() time.Duration {
	switch s.key.proto {
	case packet.TCP:
		switch {
		case s.state&(fromOperator|fromDevice) == fromOperator|fromDevice:
			return flowClosing
		case s.state&answered == 0:
			return flowOpening
		}
		return flowOpen
	case packet.UDP:
		return flowUDP
	}
	return flowEcho
}

// keep removes every flow that allowed does not allow any more.
func (f *flows) keep(allowed func(proto uint8, port uint16) bool) {
	for k, i := range f.index {
		if !allowed(k.proto, k.devicePort) {
			f.remove(i)
		}
	}
}

func (f *flows) insert(k flowKey) int32 {
	var i int32
	switch {
	case f.free != none:
		i = f.free
		f.free = f.slots[i].next
	case len(f.slots) < maxFlows:
		i = int32(len(f.slots))
		f.slots = append(f.slots, flow{})
	default:
		i = f.oldest
		f.remove(i)
		f.free = f.slots[i].next
		f.evicted++
	}
	f.slots[i] = flow{key: k, prev: none, next: none}
	f.index[k] = i
	f.push(i)
	return i
}

func (f *flows) remove(i int32) {
	delete(f.index, f.slots[i].key)
	f.unlink(i)
	f.slots[i].next = f.free
	f.free = i
}

func (f *flows) touch(i int32, now int64) {
	f.slots[i].seen = now
	if f.newest != i {
		f.unlink(i)
		f.push(i)
	}
}

func (f *flows) push(i int32) {
	s := &f.slots[i]
	s.prev, s.next = none, f.newest
	if f.newest != none {
		f.slots[f.newest].prev = i
	} else {
		f.oldest = i
	}
	f.newest = i
}

func (f *flows) unlink(i int32) {
	s := &f.slots[i]
	if s.prev != none {
		f.slots[s.prev].next = s.next
	} else {
		f.newest = s.next
	}
	if s.next != none {
		f.slots[s.next].prev = s.prev
	} else {
		f.oldest = s.prev
	}
}
