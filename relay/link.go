package relay

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/internal/queue"
	"github.com/boothwire/boothwire/relay/internal/wire"
)

// A link is one leg at one relay: a Conn has one, and two for a moment while it moves.
type link struct {
	c        *Conn
	conn     net.Conn
	relay    keys.Relay
	number   int    // in the list
	made     uint64 // its generation
	first    bool   // the other end was there already
	ahead    []byte
	out      *queue.Queue
	rx       atomic.Uint64
	heard    atomic.Int64 // when, in ns since began
	asked    time.Time    // of run: when it was asked whether it lives
	began    time.Time
	draining atomic.Bool
	once     sync.Once
}

func newLink(c *Conn, conn net.Conn, r keys.Relay, number int, generation uint64, paired bool, ahead []byte) *link {
	l := &link{c: c, conn: conn, relay: r, number: number, made: generation, first: paired, ahead: ahead, began: time.Now()}
	l.out = queue.New(c.queues, func(b []byte) error {
		_, err := conn.Write(b)
		if err != nil {
			conn.Close() // the reader tells
		}
		return err
	})
	return l
}

// read hands on what comes until the leg ends.
func (l *link) read() {
	defer l.gone()
	k := l.c.pool.Get().(*block)
	n := copy(k.b, l.ahead)
	l.ahead = nil
	for {
		used, packets, ok := l.sort(k.b[:n])
		switch {
		case !ok:
			l.c.pool.Put(k)
			return
		case !packets:
			n = copy(k.b, k.b[used:n])
		default:
			next := l.c.pool.Get().(*block)
			n = copy(next.b, k.b[used:n])
			k.n, k.from = used, 0
			select {
			case l.c.in <- k:
			case <-l.c.ctx.Done():
				l.c.pool.Put(next)
				return
			}
			k = next
		}
		m, err := l.conn.Read(k.b[n:])
		if err != nil {
			l.c.pool.Put(k)
			return
		}
		n += m
		l.rx.Add(uint64(m))
		l.heard.Store(int64(time.Since(l.began)))
	}
}

// sort obeys the control frames in b and returns how many bytes of whole frames it has,
// and whether there are packets among them.
func (l *link) sort(b []byte) (used int, packets, ok bool) {
	for {
		typ, body, n, err := wire.Next(b[used:])
		switch {
		case err != nil:
			return used, packets, false
		case n == 0:
			return used, packets, true
		}
		used += n
		switch typ {
		case wire.Packet:
			packets = true
		case wire.Echo:
			if len(body) == wire.EchoSize {
				_ = l.out.Put(wire.AppendControl(nil, wire.EchoReply, body...))
			}
		case wire.EchoReply:
			l.c.echoed(body)
		case wire.Ready, wire.Peer:
			if len(body) == 1 {
				l.c.peer(l, body[0] == 1)
			}
		case wire.Drain:
			l.draining.Store(true)
			l.replaced()
		case wire.Bye:
			l.bye(body)
			return used, packets, false
		}
	}
}

// bye ends the leg, and the Conn where going elsewhere brings nothing.
func (l *link) bye(body []byte) {
	code := "malformed"
	if wire.ValidCode(body) {
		code = string(body)
	}
	l.c.cfg.Logger.Info("relay says bye", zap.String("relay", l.relay.URL), zap.String("code", code))
	l.c.mu.Lock()
	own := code == "superseded" && l.c.generation > l.made // by a link that takes its place
	l.c.mu.Unlock()
	if final(code) && !own && l.c.link.Load() == l {
		l.c.fail(&Error{Code: code, Relay: l.relay.URL})
	}
}

// watch asks a silent leg whether it lives, and hangs up on one that does not answer.
func (l *link) watch() {
	quiet := time.Since(l.began) - time.Duration(l.heard.Load())
	switch {
	case quiet > dead:
		l.conn.Close()
	case quiet > silence && time.Since(l.asked) > silence:
		l.asked = time.Now()
		var id [wire.EchoSize]byte
		_ = l.out.Put(wire.AppendControl(nil, wire.Ping, id[:]...))
	}
}

// replaced asks run for another link in this one's place, once.
func (l *link) replaced() {
	l.once.Do(func() {
		select {
		case l.c.again <- l:
		case <-l.c.ctx.Done():
		}
	})
}

// gone is after the leg.
func (l *link) gone() {
	l.conn.Close()
	l.out.Fail(net.ErrClosed)
	q := l.out.Stats()
	l.c.mu.Lock()
	l.c.stats.Rx += l.rx.Load()
	l.c.stats.Tx += q.Bytes
	l.c.stats.Dropped += q.DroppedAge + q.DroppedBy
	l.c.mu.Unlock()
	l.c.link.CompareAndSwap(l, nil)
	l.c.peer(l, false)
	l.replaced()
}

// retire ends a leg that another one took the place of; what is under way on it still
// arrives.
func (l *link) retire() {
	l.c.work.Go(func() {
		t := time.NewTimer(time.Second)
		defer t.Stop()
		select {
		case <-t.C:
		case <-l.c.ctx.Done():
		}
		l.conn.Close()
	})
}

// jitter is between half of d and d, so that those who lost one relay do not come back
// at once.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }
