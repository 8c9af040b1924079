package server

import (
	"crypto/hmac"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/internal/queue"
	"github.com/boothwire/boothwire/relay/internal/wire"
)

// A leg is one end's connection. One goroutine reads it; what goes out has one of
// its own while there is something.
type leg struct {
	s          *Server
	conn       net.Conn
	side       int
	generation uint64
	webSocket  bool
	pair       *pair // set by join
	out        *queue.Queue
	byeOnce    sync.Once
	passed     func() // leaves the door

	received, dropped atomic.Uint64
	bucket            bucket
}

// readBuffer holds what one read of TLS brings, and the head of a torn frame.
const readBuffer = 64 << 10

// serve proves the leg's key, then forwards until the connection ends.
func (l *leg) serve(t *keys.Token, token, nonce []byte) {
	defer l.conn.Close()
	_ = l.conn.SetDeadline(time.Now().Add(proveFor))
	buf := l.s.buffers.Get().(*[]byte)
	n, code := l.prove((*buf)[:], t, token, nonce)
	if code != "" {
		l.s.buffers.Put(buf)
		l.s.refuse(code)
		l.bye(code)
		l.out.Flush(time.Second)
		return
	}
	_ = l.conn.SetDeadline(time.Time{})
	l.passed()
	l.forward(buf, n)
	l.pair.left(l)
	l.s.leave()
	l.out.Fail(net.ErrClosed)
}

// prove reads the first frame and joins the pair. What came with it stays in buf,
// n bytes from its start.
func (l *leg) prove(buf []byte, t *keys.Token, token, nonce []byte) (n int, code string) {
	for n < len(buf) && n < maxBefore {
		m, err := l.conn.Read(buf[n:])
		n += m
		typ, body, size, bad := wire.Next(buf[:n])
		switch {
		case bad != nil || size != 0 && typ != wire.Proof:
			return 0, "malformed"
		case size == 0 && err != nil:
			return 0, "slow"
		case size == 0:
			continue
		}
		generation, mac, ok := wire.ReadProof(body)
		if !ok {
			return 0, "malformed"
		}
		secret, err := l.s.key.RelaySecret(t.Ends[t.Leg])
		if err != nil {
			return 0, "bad_proof"
		}
		defer clear(secret)
		if !hmac.Equal(mac, wire.MAC(secret, nonce, token, t.Leg, generation)) {
			return 0, "bad_proof"
		}
		l.side, l.generation = t.Leg, generation
		if code := l.s.join(l, t); code != "" {
			return 0, code
		}
		return copy(buf, buf[size:n]), ""
	}
	return 0, "malformed"
}

// forward passes frames on. A leg that is silent holds no buffer: the first bytes of
// what comes next are read into two of its own.
func (l *leg) forward(buf *[]byte, n int) {
	var head [wire.Header]byte
	defer func() {
		if buf != nil {
			l.s.buffers.Put(buf)
		}
	}()
	for {
		if n > 0 {
			used, ok := l.pass((*buf)[:n])
			if !ok {
				return
			}
			n = copy(*buf, (*buf)[used:n])
		}
		if n == 0 {
			if buf != nil {
				l.s.buffers.Put(buf)
				buf = nil
			}
			m, err := l.conn.Read(head[:])
			if err != nil {
				return
			}
			buf = l.s.buffers.Get().(*[]byte)
			n = copy(*buf, head[:m])
		}
		m, err := l.conn.Read((*buf)[n:])
		if err != nil {
			return
		}
		n += m
	}
}

// pass takes the whole frames of b: runs of packets, and echoes, go to the other leg
// as they are. It returns how many bytes that were.
func (l *leg) pass(b []byte) (used int, ok bool) {
	from := 0
	send := func(to int) {
		if from == to {
			return
		}
		if other := l.pair.legs[1-l.side].Load(); other == nil || other.out.Put(b[from:to]) != nil {
			l.dropped.Add(uint64(to - from))
		}
	}
	for {
		typ, body, n, err := wire.Next(b[used:])
		if err != nil {
			l.bye("malformed")
			return used, false
		}
		if n == 0 {
			break
		}
		switch typ {
		case wire.Packet:
		case wire.Echo, wire.EchoReply:
			if len(body) != wire.EchoSize {
				l.bye("malformed")
				return used, false
			}
		default:
			send(used)
			from = used + n
			if code := l.control(typ, body); code != "" {
				l.bye(code)
				return used, false
			}
		}
		used += n
	}
	send(used)
	l.received.Add(uint64(used))
	if wait := l.bucket.take(used, time.Since(l.s.epoch)); wait > 0 {
		time.Sleep(wait)
	}
	return used, true
}

func (l *leg) control(typ wire.Type, body []byte) (code string) {
	switch typ {
	case wire.Ping:
		if len(body) != wire.EchoSize {
			return "malformed"
		}
		l.out.Put(wire.AppendControl(nil, wire.Pong, body...))
	case wire.Token:
		if code := l.pair.renew(l, body); code != "" {
			return code
		}
		l.rated()
	case wire.Proof:
		return "malformed"
	}
	return ""
}

// rated takes the session's rate.
func (l *leg) rated() {
	l.pair.mu.Lock()
	defer l.pair.mu.Unlock()
	l.bucket.rate = float64(l.pair.rate) / 8
}

// bye says why, as the last that the leg hears, and hangs up.
func (l *leg) bye(code string) {
	l.byeOnce.Do(func() {
		_ = l.out.Put(wire.AppendControl(nil, wire.Bye, []byte(code)...))
		go func() {
			l.out.Flush(time.Second)
			l.conn.Close()
		}()
	})
}
