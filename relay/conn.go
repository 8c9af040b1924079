package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/internal/queue"
	"github.com/boothwire/boothwire/relay/internal/wire"
)

// A Conn is one end's way through a relay. It keeps packets apart, and loses them as
// a network does: what finds no leg, or no room, is dropped without an error. It
// dials again, here or at the next relay, until Close or until the session is over.
// Its methods are safe for concurrent use.
type Conn struct {
	key    keys.PrivateKey
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	queues *sync.Pool
	pool   sync.Pool // of *block
	in     chan *block
	rest   *block // that a Read left over; guarded by reading
	link   atomic.Pointer[link]
	again  chan *link // links that are to be replaced

	reading sync.Mutex

	mu         sync.Mutex
	relays     []keys.Relay
	generation uint64
	paired     chan struct{}
	met        bool
	waiters    map[[wire.EchoSize]byte]chan struct{}
	echoes     uint64
	err        error
	stats      Stats
}

// Stats counts what a Conn did. Dropped are bytes that waited too long for the leg, or
// found no room.
type Stats struct {
	Relay     string // URL of the present leg's; empty: there is none
	Paired    bool   // the other end is there
	Rx, Tx    uint64 // bytes of frames
	Dropped   uint64
	Dials     uint64 // legs that were made
	LastError string
}

// A block is frames that were read.
type block struct {
	b    []byte
	n    int // bytes of whole frames
	from int
}

// blockSize is what TLS brings in one record, and a torn frame before it.
const blockSize = 36 << 10

// Dial makes a leg at the first of relays that takes it, in their order; the other
// end does the same, so that both meet. Each is given 1.5 s, five through a proxy.
// ctx bounds the call. When none takes it the error is the last one's, an *Error.
func Dial(ctx context.Context, relays []keys.Relay, key keys.PrivateKey, cfg *Config) (*Conn, error) {
	if len(relays) == 0 {
		return nil, &Error{Code: "no_relay", Err: errors.New("the session has none")}
	}
	c := &Conn{
		key: key, cfg: cfg.withDefaults(), queues: queue.NewPool(), in: make(chan *block, 4), again: make(chan *link, 4),
		relays: slices.Clone(relays), paired: make(chan struct{}), waiters: make(map[[wire.EchoSize]byte]chan struct{}),
		pool: sync.Pool{New: func() any { return &block{b: make([]byte, blockSize)} }},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	l, err := c.dial(ctx, 0)
	if err != nil {
		c.cancel()
		return nil, err
	}
	c.use(l)
	c.work.Go(c.run)
	return c, nil
}

// dial makes a link at the first relay that takes it, beginning with number first.
func (c *Conn) dial(ctx context.Context, first int) (*link, error) {
	c.mu.Lock()
	relays := slices.Clone(c.relays)
	c.mu.Unlock()
	var last error
	for i := range relays {
		n := (first + i) % len(relays)
		c.mu.Lock()
		c.generation = max(c.generation+1, uint64(time.Now().UnixMilli()))
		generation := c.generation
		c.mu.Unlock()
		conn, paired, ahead, err := call(ctx, &c.cfg, relays[n], c.key, generation)
		if err == nil {
			return newLink(c, conn, relays[n], n, generation, paired, ahead), nil
		}
		last = err
		if ctx.Err() != nil {
			break
		}
		if e, ok := errors.AsType[*Error](err); ok && final(e.Code) {
			break
		}
	}
	c.mu.Lock()
	c.stats.LastError = last.Error()
	c.mu.Unlock()
	return nil, last
}

// use sends over l from now on.
func (c *Conn) use(l *link) {
	c.mu.Lock()
	c.stats.Dials++
	c.mu.Unlock()
	c.link.Store(l)
	if c.ctx.Err() != nil { // Close did not see it
		l.conn.Close()
	}
	c.peer(l, l.first)
	c.work.Go(l.read)
}

// run replaces links that end or are told to go elsewhere.
func (c *Conn) run() {
	tick := time.NewTicker(silence / 5)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			if l := c.link.Load(); l != nil {
				l.watch()
			}
		case l := <-c.again:
			if now := c.link.Load(); now != nil && now != l {
				continue // it was replaced before
			}
			if !c.replace(l) {
				return
			}
		}
	}
}

// replace dials until there is a link in l's place. One that is draining carries on
// meanwhile.
func (c *Conn) replace(l *link) bool {
	first := l.number
	if l.draining.Load() {
		first++ // the others do not drain; where there is none, its successor is waited for
	} else {
		c.link.CompareAndSwap(l, nil)
		c.peer(l, false)
	}
	for wait := retryMin; ; wait = min(2*wait, retryMost) {
		t := time.NewTimer(jitter(wait))
		select {
		case <-t.C:
		case <-c.ctx.Done():
			t.Stop()
			return false
		}
		next, err := c.dial(c.ctx, first)
		if err == nil {
			c.use(next)
			l.retire()
			return true
		}
		if e, ok := errors.AsType[*Error](err); ok && final(e.Code) {
			c.fail(e)
			return false
		}
	}
}

// peer notes whether the other end has a leg too.
func (c *Conn) peer(l *link, there bool) {
	if cur := c.link.Load(); cur != nil && cur != l {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Paired = there
	if there && !c.met {
		c.met = true
		close(c.paired)
	}
}

// Paired is closed once the other end has had a leg.
func (c *Conn) Paired() <-chan struct{} { return c.paired }

// Renew shows later tokens: those of the session's next revision.
func (c *Conn) Renew(relays []keys.Relay) {
	if len(relays) == 0 {
		return
	}
	c.mu.Lock()
	c.relays = slices.Clone(relays)
	c.mu.Unlock()
	if l := c.link.Load(); l != nil {
		for _, r := range relays {
			if r.URL == l.relay.URL && len(r.Token) < wire.MaxControl-1 {
				_ = l.out.Put(wire.AppendControl(nil, wire.Token, []byte(r.Token)...))
			}
		}
	}
}

// Check measures one round trip to the other end and back. It fails with ErrAlone at
// once while there is none.
func (c *Conn) Check(ctx context.Context) (time.Duration, error) {
	l := c.link.Load()
	c.mu.Lock()
	if l == nil || !c.stats.Paired {
		c.mu.Unlock()
		return 0, ErrAlone
	}
	c.echoes++
	var id [wire.EchoSize]byte
	for i, n := 0, c.echoes; i < len(id); i, n = i+1, n>>8 {
		id[i] = byte(n)
	}
	back := make(chan struct{})
	c.waiters[id] = back
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiters, id)
		c.mu.Unlock()
	}()
	began := time.Now()
	if err := l.out.Put(wire.AppendControl(nil, wire.Echo, id[:]...)); err != nil {
		return 0, err
	}
	select {
	case <-back:
		return time.Since(began), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-c.ctx.Done():
		return 0, c.reason()
	}
}

func (c *Conn) echoed(body []byte) {
	if len(body) != wire.EchoSize {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id := [wire.EchoSize]byte(body)
	if back := c.waiters[id]; back != nil {
		delete(c.waiters, id)
		close(back)
	}
}

// WriteBatch sends packets of at most 16 KiB each, in one write of TLS. It does not
// wait for the network.
func (c *Conn) WriteBatch(packets [][]byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, c.reason()
	}
	l := c.link.Load()
	if l == nil {
		return len(packets), nil
	}
	k := c.pool.Get().(*block)
	b := k.b[:0]
	for _, p := range packets {
		if len(p) == 0 || len(p) > wire.MaxPacket {
			continue
		}
		if len(b)+wire.Header+len(p) > len(k.b) {
			_ = l.out.Put(b)
			b = b[:0]
		}
		b = wire.AppendPacket(b, p)
	}
	if len(b) > 0 {
		_ = l.out.Put(b)
	}
	c.pool.Put(k)
	return len(packets), nil
}

// Write sends one packet.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) == 0 || len(p) > wire.MaxPacket {
		return 0, errors.New("relay: a packet has 1 to 16,384 bytes")
	}
	one := [1][]byte{p}
	if _, err := c.WriteBatch(one[:]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ReadBatch waits for packets and puts each into one of bufs, its length into sizes. A
// packet that is longer than its buffer is cut, as by a datagram socket. The error is
// net.ErrClosed after Close, and an *Error when the session is over at the relay.
func (c *Conn) ReadBatch(bufs [][]byte, sizes []int) (n int, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for n == 0 {
		k := c.rest
		if c.rest = nil; k == nil {
			select {
			case k = <-c.in:
			case <-c.ctx.Done():
				return 0, c.reason()
			}
		}
		for k.from < k.n && n < len(bufs) {
			typ, body, size, err := wire.Next(k.b[k.from:k.n])
			if err != nil || size == 0 {
				k.from = k.n
				break
			}
			k.from += size
			if typ == wire.Packet {
				sizes[n] = copy(bufs[n], body)
				n++
			}
		}
		if k.from < k.n {
			c.rest = k
		} else {
			c.pool.Put(k)
		}
	}
	return n, nil
}

// Read is ReadBatch for one packet.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, io.ErrShortBuffer
	}
	var size [1]int
	one := [1][]byte{p}
	if _, err := c.ReadBatch(one[:], size[:]); err != nil {
		return 0, err
	}
	return size[0], nil
}

// fail ends the Conn from within.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.cancel()
	if l := c.link.Swap(nil); l != nil {
		l.conn.Close()
	}
}

func (c *Conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close hangs up and waits until nothing is left.
func (c *Conn) Close() error {
	if l := c.link.Load(); l != nil {
		l.out.Flush(100 * time.Millisecond) // the last word of the tunnel
	}
	c.fail(net.ErrClosed)
	c.work.Wait()
	return nil
}

// Done is closed when the Conn is over; Read says why.
func (c *Conn) Done() <-chan struct{} { return c.ctx.Done() }

// Stats returns the counters as they are now.
func (c *Conn) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.stats
	if l := c.link.Load(); l != nil {
		q := l.out.Stats()
		st.Relay = l.relay.URL
		st.Rx += l.rx.Load()
		st.Tx += q.Bytes
		st.Dropped += q.DroppedAge + q.DroppedBy
	}
	return st
}

// LocalAddr is that of the present leg's TCP connection.
func (c *Conn) LocalAddr() net.Addr {
	if l := c.link.Load(); l != nil {
		return l.conn.LocalAddr()
	}
	return &net.TCPAddr{}
}

// RemoteAddr is that of the relay, or the proxy, of the present leg.
func (c *Conn) RemoteAddr() net.Addr {
	if l := c.link.Load(); l != nil {
		return l.conn.RemoteAddr()
	}
	return &net.TCPAddr{}
}

// SetDeadline is not supported: Close unblocks Read, and Write does not wait.
func (c *Conn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline is not supported.
func (c *Conn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline is not supported.
func (c *Conn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

var _ net.Conn = (*Conn)(nil)
