package netstack

import (
	"context"
	"os"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// device is the stack's end of the wire as a tun.Device. Close ends the wire
// only; the stack above it has a Close of its own.
type device struct {
	link   *link
	batch  int
	events chan tun.Event
	mtu    atomic.Int32
	ctx    context.Context // ends with the device; Read waits on it
	cancel context.CancelFunc
	woken  atomic.Bool

	reading  sync.Mutex
	splitter splitter

	mu     sync.RWMutex // held for reading by each Write, so that Close waits for them
	closed bool
}

var _ tun.Device = (*device)(nil)

func newDevice(mtu, batch int) *device {
	d := &device{link: newLink(mtu), batch: batch, events: make(chan tun.Event, 4)}
	d.mtu.Store(int32(mtu))
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// Read waits for packets and takes what is ready, up to a batch. After Wake it
// returns with no packet.
func (d *device) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	d.reading.Lock()
	defer d.reading.Unlock()
	for {
		if d.ctx.Err() != nil {
			d.splitter.release()
			return 0, os.ErrClosed
		}
		if n := d.take(bufs[:min(len(bufs), d.batch)], sizes, offset); n > 0 {
			return n, nil
		}
		if d.woken.Swap(false) {
			return 0, nil
		}
		select {
		case <-d.link.wake:
		case <-d.ctx.Done():
		}
	}
}

// take fills bufs as far as there are packets.
func (d *device) take(bufs [][]byte, sizes []int, offset int) (n int) {
	for n < len(bufs) {
		if d.splitter.pkt == nil {
			pkt := d.link.take()
			if pkt == nil {
				return n
			}
			d.splitter.start(pkt)
			if n > 0 && n+d.splitter.segments() > len(bufs) {
				return n // what TCP gave at once leaves at once
			}
		}
		if size := d.splitter.next(bufs[n][offset:]); size > 0 {
			sizes[n] = size
			n++
		}
	}
	return n
}

// Write hands a batch of packets from WireGuard to the stack, those of one
// connection that follow each other as one.
func (d *device) Write(bufs [][]byte, offset int) (int, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return 0, os.ErrClosed
	}
	for i := 0; i < len(bufs); {
		if len(bufs[i]) <= offset {
			i++
			continue
		}
		n, length := follow(bufs[i:], offset)
		proto := header.IPv4ProtocolNumber
		if bufs[i][offset]>>4 == 6 {
			proto = header.IPv6ProtocolNumber
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(merge(bufs[i:i+n], offset, length))})
		d.link.deliver(proto, pkt)
		pkt.DecRef()
		i += n
	}
	return len(bufs), nil
}

// Wake makes a Read that waits, or the next one, return early.
func (d *device) Wake() {
	d.woken.Store(true)
	d.link.notify()
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
func (d *device) BatchSize() int           { return d.batch }

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
