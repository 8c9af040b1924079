package netstack

import (
	"context"
	"os"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// batchSize is wireguard-go's own ideal batch (conn.IdealBatchSize).
	batchSize = 128

	// queueSize is how many packets may wait for WireGuard: more than one
	// connection's whole window (4 MiB in packets of 1,240 bytes), so that a single
	// transfer never loses packets inside the process, which gVisor mends only
	// after a timeout. What does not fit is dropped, as on a wire.
	queueSize = 32 * batchSize
)

// device is the stack's end of the wire as a tun.Device. Close ends the wire
// only; the stack above it has a Close of its own.
type device struct {
	link   *channel.Endpoint
	events chan tun.Event
	mtu    atomic.Int32
	ctx    context.Context // ends with the device; Read waits on it
	cancel context.CancelFunc

	mu     sync.RWMutex // held for reading by each Write, so that Close waits for them
	closed bool
}

var _ tun.Device = (*device)(nil)

func newDevice(mtu int) *device {
	d := &device{
		link:   channel.New(queueSize, uint32(mtu), ""),
		events: make(chan tun.Event, 4),
	}
	// What arrives was authenticated by WireGuard: checksums prove nothing more.
	d.link.LinkEPCapabilities = stack.CapabilityRXChecksumOffload
	d.mtu.Store(int32(mtu))
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Read waits for one packet and takes what else is ready, up to a batch. After
// Wake it returns with no packet.
func (d *device) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	pkt := d.link.ReadContext(d.ctx)
	n := 0
	for pkt != nil {
		if size := copyOut(bufs[n][offset:], pkt); size > 0 {
			sizes[n] = size
			n++
		}
		pkt.DecRef()
		if n == len(bufs) || n == batchSize {
			break
		}
		pkt = d.link.Read()
	}
	if n == 0 && d.ctx.Err() != nil {
		return 0, os.ErrClosed
	}
	return n, nil
}

// copyOut copies a whole packet to b and returns its size, 0 when it does not fit.
func copyOut(b []byte, pkt *stack.PacketBuffer) int {
	if pkt.Size() > len(b) {
		return 0
	}
	views, skip := pkt.AsViewList()
	n := 0
	for v := views.Front(); v != nil; v = v.Next() {
		s := v.AsSlice()
		if skip >= len(s) {
			skip -= len(s)
			continue
		}
		n += copy(b[n:], s[skip:])
		skip = 0
	}
	return n
}

// Write hands a batch of packets from WireGuard to the stack.
func (d *device) Write(bufs [][]byte, offset int) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return 0, os.ErrClosed
	}
	for _, b := range bufs {
		packet := b[offset:]
		if len(packet) == 0 {
			continue
		}
		proto := header.IPv4ProtocolNumber
		if packet[0]>>4 == 6 {
			proto = header.IPv6ProtocolNumber
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
		d.link.InjectInbound(proto, pkt)
		pkt.DecRef()
	}
	return len(bufs), nil
}

// Wake makes a Read that waits, or the next one, return early.
func (d *device) Wake() {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{})
	var list stack.PacketBufferList
	list.PushBack(pkt)
	// A full queue wakes the reader just as well.
	_, _ = d.link.WritePackets(list)
	pkt.DecRef()
}

// SetMTU sets the size that later connections use.
func (d *device) SetMTU(mtu int) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return
	}
	d.mtu.Store(int32(mtu))
	d.link.SetMTU(uint32(mtu))
	select {
	case d.events <- tun.EventMTUUpdate:
	default:
	}
}

func (d *device) MTU() (int, error)        { return int(d.mtu.Load()), nil }
func (d *device) Name() (string, error)    { return "netstack", nil }
func (d *device) File() *os.File           { return nil }
func (d *device) Events() <-chan tun.Event { return d.events }
func (d *device) BatchSize() int           { return batchSize }

// Close ends Read and Write. It is idempotent.
func (d *device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.cancel()
	close(d.events)
	return nil
}
