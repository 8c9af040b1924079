package netstack

import (
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// queueBytes is how much may wait for WireGuard: more than one connection's
	// whole window (4 MiB), so that a single transfer never loses packets inside the
	// process, which gVisor mends only after a timeout. What does not fit is dropped,
	// as on a wire.
	queueBytes = 5 << 20

	// packetCost is what a packet takes beside its bytes, so that small ones are
	// bounded too.
	packetCost = 256

	// segmentMax is the most that TCP gives at once, to be cut by a splitter. Its
	// packets then fit into one UDP message of WireGuard's that the kernel cuts in
	// turn: 64 KiB at most, with 32 bytes, padding and headers more for each.
	segmentMax = 60000
)

// A link is the stack's interface. TCP gives it up to 64 KiB at once, as to a network
// card that cuts segments and computes checksums itself. What it gives waits until the
// device takes it.
type link struct {
	mtu  atomic.Uint32
	wake chan struct{} // has a token when something may wait

	mu         sync.Mutex
	dispatcher stack.NetworkDispatcher
	queue      []*stack.PacketBuffer // a ring
	first, n   int
	cost       int
	closed     bool
}

var (
	_ stack.LinkEndpoint = (*link)(nil)
	_ stack.GSOEndpoint  = (*link)(nil)
)

func newLink(mtu int) *link {
	l := &link{wake: make(chan struct{}, 1), queue: make([]*stack.PacketBuffer, 64)}
	l.mtu.Store(uint32(mtu))
	return l
}

func costOf(pkt *stack.PacketBuffer) int { return pkt.Size() + packetCost }

// WritePackets queues packets as far as there is room.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, &tcpip.ErrClosedForSend{}
	}
	taken := 0
	for _, pkt := range pkts.AsSlice() {
		if l.cost+costOf(pkt) > queueBytes {
			break
		}
		l.put(pkt.IncRef())
		taken++
	}
	if taken > 0 {
		l.notify()
	}
	return taken, nil
}

// put wants mu held.
func (l *link) put(pkt *stack.PacketBuffer) {
	if l.n == len(l.queue) {
		ring := make([]*stack.PacketBuffer, 2*l.n)
		for i := range l.n {
			ring[i] = l.queue[(l.first+i)%l.n]
		}
		l.queue, l.first = ring, 0
	}
	l.queue[(l.first+l.n)%len(l.queue)] = pkt
	l.n++
	l.cost += costOf(pkt)
}

// notify wakes the device's reader.
func (l *link) notify() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take returns the next packet, which the caller releases; nil when none waits.
func (l *link) take() *stack.PacketBuffer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n == 0 {
		return nil
	}
	pkt := l.queue[l.first]
	l.queue[l.first] = nil
	l.first = (l.first + 1) % len(l.queue)
	l.n--
	l.cost -= costOf(pkt)
	return pkt
}

// waiting is how many packets are queued.
func (l *link) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// deliver hands a packet of the far side to the stack.
func (l *link) deliver(proto tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	l.mu.Lock()
	d := l.dispatcher
	l.mu.Unlock()
	if d != nil {
		d.DeliverNetworkPacket(proto, pkt)
	}
}

// Close drops what waits, and what still comes.
func (l *link) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	for pkt := l.take(); pkt != nil; pkt = l.take() {
		pkt.DecRef()
	}
}

func (l *link) Attach(d stack.NetworkDispatcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dispatcher = d
}

func (l *link) IsAttached() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dispatcher != nil
}

// Capabilities: what arrives was authenticated by WireGuard, so that checksums prove
// nothing more.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

func (l *link) SupportedGSO() stack.SupportedGSO        { return stack.HostGSOSupported }
func (l *link) GSOMaxSize() uint32                      { return segmentMax }
func (l *link) MTU() uint32                             { return l.mtu.Load() }
func (l *link) SetMTU(mtu uint32)                       { l.mtu.Store(mtu) }
func (l *link) MaxHeaderLength() uint16                 { return 0 }
func (l *link) LinkAddress() tcpip.LinkAddress          { return "" }
func (l *link) SetLinkAddress(tcpip.LinkAddress)        {}
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (l *link) AddHeader(*stack.PacketBuffer)           {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (l *link) SetOnCloseAction(func())                 {}
func (l *link) Wait()                                   {}
