package shape

// none is no slot.
const none int32 = -1

// pool is the memory of all packets that wait: slots of equal size, the one freed
// last given out first, so that no more of it is touched than was ever in use.
type pool struct {
	size  int
	bytes []byte
	slots []slot
	free  []int32
}

type slot struct {
	since  int64 // when it came, ns
	next   int32 // behind it in its flow
	length int32
}

func newPool(packets, size int) pool {
	p := pool{size: size, bytes: make([]byte, packets*size), slots: make([]slot, packets), free: make([]int32, packets)}
	for i := range p.free {
		p.free[i] = int32(packets - 1 - i)
	}
	return p
}

// put copies a packet in; there is a free slot, and the packet fits.
func (p *pool) put(now int64, packet []byte) int32 {
	i := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.slots[i] = slot{since: now, next: none, length: int32(copy(p.bytes[int(i)*p.size:][:p.size], packet))}
	return i
}

func (p *pool) packet(i int32) []byte { return p.bytes[int(i)*p.size:][:p.slots[i].length] }

func (p *pool) release(i int32) { p.free = append(p.free, i) }
