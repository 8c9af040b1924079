package reach

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/boothwire/boothwire/internal/packet"
)

// A Device is a tun.Device with a Filter in front of it.
type Device struct {
	tun.Device
	filter  *Filter
	start   time.Time
	queue   queue
	wake    func()      // makes the inner Read return
	file    *os.File    // whose read deadline wake sets; nil when the inner device has a Wake
	out, in atomic.Bool // whether the next packet that way is told to moved
	moved   chan struct{}
}

// waker is an inner device whose Read can be made to return early.
type waker interface{ Wake() }

// NewDevice puts filter in front of inner, which belongs to the Device from now
// on. Times that the filter sees count from start.
func NewDevice(inner tun.Device, filter *Filter, start time.Time) *Device {
	d := &Device{Device: inner, filter: filter, start: start, moved: make(chan struct{}, 1)}
	if w, ok := inner.(waker); ok {
		d.wake = w.Wake
	} else if f := inner.File(); f != nil && f.SetReadDeadline(time.Time{}) == nil {
		d.file = f
		d.wake = func() { _ = f.SetReadDeadline(time.Unix(1, 0)) }
	} else {
		p := newPump(inner)
		d.Device = p
		d.wake = p.Wake
	}
	return d
}

// Now is the time on the filter's clock.
func (d *Device) Now() time.Duration { return max(time.Since(d.start), 1) }

// Filter returns the filter.
func (d *Device) Filter() *Filter { return d.filter }

// Send sends a packet of the tunnel's own, which the filter does not judge; it
// reports false when too many wait. b is copied.
func (d *Device) Send(b []byte) bool {
	if !d.queue.put(b) {
		return false
	}
	d.wake()
	return true
}

// Moved is signalled once after each ArmOut and ArmIn, when the next packet
// passes outwards, or comes in from WireGuard.
func (d *Device) Moved() <-chan struct{} { return d.moved }

// ArmOut asks for one signal on Moved.
func (d *Device) ArmOut() { d.out.Store(true) }

// ArmIn asks for one signal on Moved.
func (d *Device) ArmIn() { d.in.Store(true) }

func (d *Device) signal(armed *atomic.Bool) {
	if armed.Load() && armed.CompareAndSwap(true, false) {
		select {
		case d.moved <- struct{}{}:
		default:
		}
	}
}

// Read returns packets for WireGuard: the tunnel's own first, then those of the
// inner device that the filter lets out. A dropped one has size 0, which
// WireGuard skips.
func (d *Device) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for {
		if n := d.queue.take(bufs, sizes, offset); n > 0 {
			return n, nil
		}
		n, err := d.Device.Read(bufs, sizes, offset)
		if d.file != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			// Send puts its packet into the queue before it sets the deadline, so
			// whatever this overwrites is in the queue by now.
			_ = d.file.SetReadDeadline(time.Time{})
			err = nil
		}
		if n == 0 && err == nil {
			continue
		}
		d.judgeOut(bufs[:n], sizes, offset)
		return n, err
	}
}

func (d *Device) judgeOut(bufs [][]byte, sizes []int, offset int) {
	now := d.Now()
	passed := false
	d.filter.mu.Lock()
	for i, b := range bufs {
		if d.filter.out(b[offset:offset+sizes[i]], now) == Pass {
			passed = true
		} else {
			sizes[i] = 0
		}
	}
	d.filter.mu.Unlock()
	if passed {
		d.signal(&d.out)
	}
}

// Write takes packets from WireGuard and hands on what the filter lets in. It
// moves the elements of bufs.
func (d *Device) Write(bufs [][]byte, offset int) (int, error) {
	now := d.Now()
	keep := bufs[:0]
	replies := false
	d.filter.mu.Lock()
	for _, b := range bufs {
		switch d.filter.in(b[offset:], now) {
		case Pass:
			keep = append(keep, b)
		case Answer:
			if packet.Reply(b[offset:], &d.filter.info) && d.queue.put(b[offset:offset+d.filter.info.TotalLen]) {
				replies = true
			}
		}
	}
	d.filter.mu.Unlock()
	if replies {
		d.wake()
	}
	d.signal(&d.in)
	if len(keep) == 0 {
		return len(bufs), nil
	}
	return d.Device.Write(keep, offset)
}
