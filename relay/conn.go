package relay

import (
	"context"
	"errors"
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
	rest   *block               // that a Read left over; guarded by reading
	link   atomic.Pointer[link] // what is sent on; nil: nothing; set under mu
	wake   chan struct{}        // of one: the keeper may ask for something else

	reading sync.Mutex

	mu         sync.Mutex
	relays     []keys.Relay
	generation uint64
	keeper     keeper
	calling    bool          // there will be another newest link, perhaps
	newest     *link         // the keeper's; nil: none. An older link carries on until it is paired
	met        chan struct{} // closed by the first peer
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

// Dial makes a leg at the first of relays that takes it, in their order; the other
// end does the same, so that both meet. Each is given 1.5 s, five through a proxy;
// the last one 10 s once it
// is reached, if all are busy. ctx bounds the call. When none takes it the error is the last one's, an *Error.
func Dial(ctx context.Context, relays []keys.Relay, key keys.PrivateKey, cfg *Config) (*Conn, error) {
	if len(relays) == 0 {
		return nil, &Error{Reason: "no_relay", Err: errors.New("the session has none")}
	}
	c := &Conn{
		key: key, cfg: cfg.withDefaults(), queues: queue.NewPool(), in: make(chan *block, 4), wake: make(chan struct{}, 1),
		relays: slices.Clone(relays), met: make(chan struct{}), waiters: make(map[[wire.EchoSize]byte]chan struct{}),
		pool:   sync.Pool{New: func() any { return &block{b: make([]byte, blockSize)} }},
		keeper: keeper{relays: len(relays), rnd: below},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	l, err := c.dial(ctx, c.keeper.order())
	if err != nil {
		c.cancel()
		return nil, err
	}
	c.use(l)
	c.work.Go(c.run)
	return c, nil
}

// dial makes a link at the first relay that takes it, of those numbered in order.
func (c *Conn) dial(ctx context.Context, order []int) (*link, error) {
	c.mu.Lock()
	relays, limit := c.relays, c.keeper.limit()
	patient := c.keeper.state != alone // else it has a leg to look after
	c.mu.Unlock()
	last := error(&Error{Reason: "no_relay"})
	order = slices.DeleteFunc(order, func(n int) bool { return n >= len(relays) }) // there are fewer since
	for i, n := range order {
		answer := limit
		if i == len(order)-1 && patient {
			answer = max(limit, answerFor)
		}
		c.mu.Lock()
		c.calling = true
		c.generation = max(c.generation+1, uint64(time.Now().UnixMilli()))
		generation := c.generation
		c.mu.Unlock()
		conn, paired, ahead, err := call(ctx, &c.cfg, limit, answer, relays[n], c.key, generation)
		if err == nil {
			return newLink(c, conn, relays[n], n, paired, ahead), nil
		}
		last, patient = err, patient && full(err)
		if ctx.Err() != nil {
			break
		}
		if e, ok := errors.AsType[*Error](err); ok && final(e.Reason) {
			break
		}
	}
	c.mu.Lock()
	c.calling = false
	c.stats.LastError = last.Error()
	c.mu.Unlock()
	return nil, last
}

// run makes the legs that the keeper asks for.
func (c *Conn) run() {
	tick := time.NewTicker(silence / 5)
	defer tick.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			c.mu.Lock()
			links := [2]*link{c.link.Load(), c.newest}
			c.mu.Unlock()
			for i, l := range links {
				if l != nil && (i == 0 || l != links[0]) {
					l.watch()
				}
			}
		case <-c.wake:
		case <-due.C:
		}
		now := time.Now()
		c.mu.Lock()
		at, order := c.keeper.due, c.keeper.order()
		c.mu.Unlock()
		if at.IsZero() {
			due.Stop()
			continue
		}
		if wait := at.Sub(now); wait > 0 {
			due.Reset(wait)
			continue
		}
		next, err := c.dial(c.ctx, order)
		if err == nil {
			c.use(next)
		} else if e, ok := errors.AsType[*Error](err); ok && final(e.Reason) {
			c.fail(e)
			return
		} else {
			c.change(func() { c.keeper.failed(time.Now(), full(err)) })
		}
		due.Reset(0)
	}
}

// change tells the keeper something and has run look what it asks for.
func (c *Conn) change(f func()) {
	c.mu.Lock()
	f()
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Paired is closed once the other end has had a leg.
func (c *Conn) Paired() <-chan struct{} { return c.met }

// Renew shows later tokens: those of the session's next revision. They are used for
// every leg from now on, and shown on the one that is open.
func (c *Conn) Renew(relays []keys.Relay) {
	if len(relays) == 0 {
		return
	}
	c.change(func() {
		c.relays = slices.Clone(relays)
		c.keeper.renewed(time.Now(), len(relays))
		now := c.link.Load()
		for _, r := range relays {
			now.show(r)
			if c.newest != now {
				c.newest.show(r)
			}
		}
	})
}

// Check measures one round trip to the other end and back. It fails with ErrAlone at
// once while there is none, and when its own leg is lost.
func (c *Conn) Check(ctx context.Context) (time.Duration, error) {
	l := c.link.Load()
	c.mu.Lock()
	if l == nil || !l.paired {
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
	case <-l.over:
		return 0, ErrAlone
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

// fail ends the Conn from within.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.cancel()
	links := []*link{c.link.Swap(nil), c.newest}
	c.mu.Unlock()
	for _, l := range links {
		if l != nil {
			l.conn.Close()
		}
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
		st.Relay, st.Paired = l.relay.URL, l.paired
		l.add(&st)
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
