package relay

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/internal/queue"
	"github.com/boothwire/boothwire/relay/internal/wire"
)

// A link is one leg at one relay: a Conn has one, and two for a moment while it moves.
type link struct {
	c      *Conn
	conn   net.Conn
	relay  keys.Relay
	number int    // in the list
	ahead  []byte // what came behind READY
	out    *queue.Queue
	over   chan struct{} // closed when nothing comes any more
	began  time.Time
	rx     atomic.Uint64
	heard  atomic.Int64 // when, in ns since began
	asked  time.Time    // of run: when it was asked whether it lives

	// Under Conn.mu.
	paired bool
	said   bool // its end was announced: by the relay, or by this end
}

func newLink(c *Conn, conn net.Conn, r keys.Relay, number int, paired bool, ahead []byte) *link {
	l := &link{c: c, conn: conn, relay: r, number: number, paired: paired, ahead: ahead, over: make(chan struct{}), began: time.Now()}
	l.out = queue.New(c.queues, func(b []byte) error {
		_, err := conn.Write(b)
		if err != nil {
			conn.Close() // the reader tells
		}
		return err
	})
	return l
}

// use makes l the newest link. The one before it carries on while the other end is
// still there and not here.
func (c *Conn) use(l *link) {
	c.change(func() {
		c.stats.Dials++
		c.newest, c.calling = l, false
		now := time.Now()
		c.keeper.made(now, l.number)
		c.keeper.peer(now, l.paired)
		if old := c.link.Load(); old == nil || !old.paired || l.paired {
			c.promote(l)
		}
		c.meet(l)
		if c.ctx.Err() != nil { // fail did not see it
			l.conn.Close()
		}
	})
	c.work.Go(l.read)
}

// promote sends on l from now on; mu is held.
func (c *Conn) promote(l *link) {
	if old := c.link.Swap(l); old != nil && old != l {
		old.said = true
		c.work.Go(old.retire)
	}
}

// meet notes that the other end is there, if it is; mu is held.
func (c *Conn) meet(l *link) {
	if l.paired {
		select {
		case <-c.met:
		default:
			close(c.met)
		}
	}
}

// peer notes whether the other end has a leg where l is.
func (l *link) peer(there bool) {
	c := l.c
	c.change(func() {
		l.paired = there
		c.meet(l)
		if l == c.newest {
			c.keeper.peer(time.Now(), there)
		}
		if now := c.link.Load(); there && l == c.newest && now != l || !there && now == l && c.newest != nil {
			c.promote(c.newest)
		}
	})
}

// gone is after the leg.
func (l *link) gone() {
	l.conn.Close()
	l.out.Fail(net.ErrClosed)
	close(l.over)
	c := l.c
	c.change(func() {
		l.add(&c.stats)
		l.paired = false
		if c.newest == l {
			c.newest = nil
			c.keeper.lost(time.Now(), !l.said)
		}
		if c.link.CompareAndSwap(l, nil) && c.newest != nil {
			c.promote(c.newest)
		}
	})
}

// add counts what l did; what it does from then on is lost.
func (l *link) add(st *Stats) {
	q := l.out.Stats()
	st.Rx += l.rx.Load()
	st.Tx += q.Bytes
	st.Dropped += q.DroppedAge + q.DroppedBy
}

// show shows a later token, where it is for.
func (l *link) show(r keys.Relay) {
	if l != nil && r.URL == l.relay.URL && len(r.Token) < wire.MaxControl-1 {
		_ = l.out.Put(wire.AppendControl(nil, wire.Token, []byte(r.Token)...))
	}
}

// read hands on what comes until the leg ends. One that is silent holds no block: the
// first bytes of what comes next are read into two of its own.
func (l *link) read() {
	defer l.gone()
	var head [wire.Header]byte
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
			if n == 0 {
				l.c.pool.Put(k)
				k = nil
			}
		default:
			var next *block
			if n -= used; n > 0 {
				next = l.c.pool.Get().(*block)
				copy(next.b, k.b[used:used+n])
			}
			k.n, k.from = used, 0
			select {
			case l.c.in <- k:
			case <-l.c.ctx.Done():
				return
			}
			k = next
		}
		if k == nil {
			m, err := l.conn.Read(head[:])
			if err != nil {
				return
			}
			l.rx.Add(uint64(m))
			k = l.c.pool.Get().(*block)
			n = copy(k.b, head[:m])
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
				l.peer(body[0] == 1)
			}
		case wire.Drain:
			if len(body) == 4 {
				l.drain(time.Duration(binary.BigEndian.Uint32(body)) * time.Millisecond)
			}
		case wire.Bye:
			l.bye(body)
			return used, packets, false
		}
	}
}

// drain is when the relay will close in d: another leg is made before.
func (l *link) drain(d time.Duration) {
	l.c.change(func() {
		l.said = true
		if l == l.c.newest {
			l.c.keeper.drain(time.Now(), d)
		}
	})
}

// bye ends the leg, and the Conn where going elsewhere brings nothing.
func (l *link) bye(body []byte) {
	code := "malformed"
	if wire.ValidCode(body) {
		code = string(body)
	}
	c := l.c
	c.cfg.Logger.Info("relay says bye", zap.String("relay", l.relay.URL), zap.String("code", code))
	c.mu.Lock()
	l.said = true
	// A leg that another of this Conn's takes the place of ends nothing.
	over := final(code) && (l == c.newest || l == c.link.Load()) && (code != "superseded" || l == c.newest && !c.calling)
	c.mu.Unlock()
	if over {
		c.fail(&Error{Reason: code, Relay: l.relay.URL})
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

// retire ends a leg that another one took the place of; what is under way on it still
// arrives.
func (l *link) retire() {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.over:
	case <-l.c.ctx.Done():
	}
	l.conn.Close()
}

// below is a random time below d.
func below(d time.Duration) time.Duration { return rand.N(max(d, 1)) }
