package reach

import (
	"os"
	"sync"

	"golang.zx2c4.com/wireguard/tun"
)

// pump reads a device whose Read cannot be interrupted in a goroutine of its own
// and copies once more. It is for devices that a caller hands in.
type pump struct {
	tun.Device
	full  chan *batch
	empty chan *batch
	wake  chan struct{}
	done  chan struct{} // closed by Close
	work  sync.WaitGroup
	once  sync.Once
	err   error // of Close
}

type batch struct {
	bufs  [][]byte
	sizes []int
	n     int
	err   error
}

// pumpBuffer holds any packet that a TUN can give.
const pumpBuffer = 65535

// pumpHeadroom is what a device may want in front of a packet (a virtio header).
const pumpHeadroom = 16

func newPump(inner tun.Device) *pump {
	p := &pump{
		Device: inner,
		full:   make(chan *batch),
		empty:  make(chan *batch, 1),
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
	}
	n := inner.BatchSize()
	b := &batch{bufs: make([][]byte, n), sizes: make([]int, n)}
	for i := range b.bufs {
		b.bufs[i] = make([]byte, pumpHeadroom+pumpBuffer)
	}
	p.empty <- b
	p.work.Go(p.run)
	return p
}

func (p *pump) run() {
	for {
		select {
		case b := <-p.empty:
			b.n, b.err = p.Device.Read(b.bufs, b.sizes, pumpHeadroom)
			failed := b.err != nil
			select {
			case p.full <- b:
			case <-p.done:
				return
			}
			if failed {
				return
			}
		case <-p.done:
			return
		}
	}
}

// Wake makes a Read that waits, or the next one, return early.
func (p *pump) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *pump) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case b := <-p.full:
		n := min(b.n, len(bufs))
		for i := range n {
			sizes[i] = copy(bufs[i][offset:], b.bufs[i][pumpHeadroom:pumpHeadroom+b.sizes[i]])
		}
		err := b.err
		p.empty <- b
		return n, err
	case <-p.wake:
		return 0, nil
	case <-p.done:
		return 0, os.ErrClosed
	}
}

// Close closes the inner device and waits for the goroutine.
func (p *pump) Close() error {
	p.once.Do(func() {
		close(p.done)
		p.err = p.Device.Close()
	})
	p.work.Wait()
	return p.err
}
