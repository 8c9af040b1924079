package planetest

import (
	"bytes"
	"os"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/boothwire/boothwire/internal/packet"
)

// patience is how long a case waits for what must come: on an emulated machine
// everything takes a dozen times longer.
const patience = time.Minute

// memory is how many packets a tap remembers each way.
const memory = 4096

// tap is a client's TUN: packets go into the tunnel by send, and what comes out of
// it is remembered in order and, where there is one, given to a stack. What went in is
// remembered too, so that a late packet is not taken for a new one.
type tap struct {
	mtu    int
	out    chan []byte
	closed chan struct{}
	events chan tun.Event
	once   sync.Once

	mu      sync.Mutex
	stack   *stack
	arrived [][]byte
	first   int // how many of arrived were forgotten
	sent    [][]byte
	bytes   uint64
	arrival func()        // called at each, unless nil
	more    chan struct{} // closed at the next arrival
}

func newTap(mtu int) *tap {
	return &tap{
		mtu: mtu, out: make(chan []byte, 256), closed: make(chan struct{}),
		events: make(chan tun.Event), more: make(chan struct{}),
	}
}

// send puts one packet into the tunnel, as it is.
func (t *tap) send(b []byte) {
	t.mu.Lock()
	t.sent = append(t.sent, b)
	if over := len(t.sent) - 2*memory; over > 0 {
		t.sent = slices.Clone(t.sent[over+memory:])
	}
	t.mu.Unlock()
	select {
	case t.out <- b:
	case <-t.closed:
	}
}

// mark is the place of the next arrival.
func (t *tap) mark() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first + len(t.arrived)
}

// since returns what arrived from mark on, and what to wait on for more.
func (t *tap) since(mark int) ([][]byte, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.arrived[max(0, mark-t.first):]), t.more
}

// old adds what was sent so far to all, as it arrives.
func (t *tap) old(all map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.sent {
		b = bytes.Clone(b)
		packet.Hop(b)
		all[string(b)] = true
	}
}

// total is how many bytes have arrived so far.
func (t *tap) total() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes
}

// wait reports whether something that match takes arrives, from mark on, before
// limit has passed.
func (t *tap) wait(mark int, limit time.Duration, match func(p *packet.Info, b []byte) bool) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		list, more := t.since(mark)
		for _, b := range list {
			var p packet.Info
			if packet.Parse(b, &p) && match(&p, b) {
				return true
			}
		}
		select {
		case <-more:
		case <-timer.C:
			return false
		}
	}
}

// watch has f called whenever packets arrive; f must not call the tap.
func (t *tap) watch(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.arrival = f
}

func (t *tap) Write(bufs [][]byte, offset int) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, buf := range bufs {
		b := bytes.Clone(buf[offset:])
		t.arrived = append(t.arrived, b)
		t.bytes += uint64(len(b))
		if t.stack != nil {
			t.stack.deliver(b)
		}
	}
	if over := len(t.arrived) - 2*memory; over > 0 {
		t.first += over + memory
		t.arrived = slices.Clone(t.arrived[over+memory:])
	}
	if t.arrival != nil {
		t.arrival()
	}
	close(t.more)
	t.more = make(chan struct{})
	return len(bufs), nil
}

func (t *tap) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case b := <-t.out:
		sizes[0] = copy(bufs[0][offset:], b)
		return 1, nil
	case <-t.closed:
		return 0, os.ErrClosed
	}
}

func (t *tap) Close() error {
	t.once.Do(func() {
		close(t.closed)
		close(t.events)
	})
	return nil
}

func (t *tap) File() *os.File           { return nil }
func (t *tap) MTU() (int, error)        { return t.mtu, nil }
func (t *tap) Name() (string, error)    { return "planetest", nil }
func (t *tap) Events() <-chan tun.Event { return t.events }
func (t *tap) BatchSize() int           { return 1 }
