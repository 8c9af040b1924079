package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/internal/queue"
	"github.com/boothwire/boothwire/relay/internal/sock"
	"github.com/boothwire/boothwire/relay/internal/wire"
)

// A leg is one end's connection. One goroutine reads it; what goes out has one of
// its own while there is something.
type leg struct {
	s          *Server
	conn       net.Conn
	from       netip.Prefix
	side       int
	generation uint64
	webSocket  bool
	pair       *pair // set by join
	out        *queue.Queue
	byeOnce    sync.Once
	passed     func() // leaves the door

	received atomic.Uint64
	missed   atomic.Uint64 // bytes that found no other leg
	excess   atomic.Uint64 // bytes over the rate
	bucket   bucket
	token    [sha256.Size]byte // the hash of the latest that was shown and taken
	verified time.Time         // when one was looked at
}

// readBuffer holds what one read of TLS brings, and the head of a torn frame.
const readBuffer = 64 << 10

// gather is how many bytes are enough to be passed on: about a record.
const gather = 16 << 10

// newQueue is what goes out on conn.
func newQueue(pool *sync.Pool, conn net.Conn) *queue.Queue {
	q := queue.New(pool, func(b []byte) error { _, err := conn.Write(b); return err })
	if under := sock.Of(conn); under != nil {
		q.Direct(func(b []byte) (left bool, err error) {
			under.Hold(true)
			_, err = conn.Write(b)
			return under.Hold(false), err
		}, under.Flush)
	}
	return q
}

// serve proves the leg's key, then forwards until the connection ends.
func (l *leg) serve(t *keys.Token, token, nonce []byte) {
	defer l.passed()
	defer l.conn.Close()
	_ = l.conn.SetDeadline(time.Now().Add(proveFor))
	if code := l.prove(t, token, nonce); code != "" {
		l.s.refuse(code)
		l.bye(code)
		l.out.Flush(time.Second)
		return
	}
	_ = l.conn.SetDeadline(time.Time{})
	l.passed()
	code := l.forward()
	if code != "" {
		l.s.refuse(code)
		l.bye(code)
	}
	l.pair.left(l)
	l.s.leave()
	if code != "" {
		l.out.Flush(time.Second)
	}
	l.out.Fail(net.ErrClosed)
}

// prove reads the first frame, and not a byte more, and joins the pair.
func (l *leg) prove(t *keys.Token, token, nonce []byte) (code string) {
	var b [wire.Header + 1 + wire.ProofSize]byte
	if _, err := io.ReadFull(l.conn, b[:wire.Header+1]); err != nil {
		return "slow"
	}
	if binary.BigEndian.Uint16(b[:]) != wire.Control|1+wire.ProofSize || wire.Type(b[wire.Header]) != wire.Proof {
		return "malformed"
	}
	if _, err := io.ReadFull(l.conn, b[wire.Header+1:]); err != nil {
		return "slow"
	}
	generation, mac, _ := wire.ReadProof(b[wire.Header+1:])
	secret, err := l.s.key.RelaySecret(t.Ends[t.Leg])
	if err != nil {
		return "bad_proof"
	}
	defer clear(secret)
	if !hmac.Equal(mac, wire.MAC(secret, nonce, token, t.Leg, generation)) {
		return "bad_proof"
	}
	l.side, l.generation = t.Leg, generation
	return l.s.join(l, t)
}

// forward passes frames on until the connection ends, or what comes is wrong: then it
// says how. A leg that is silent holds no buffer: the first bytes of
// what comes next are read into two of its own.
func (l *leg) forward() (code string) {
	var head [wire.Header]byte
	var buf *[]byte
	n := 0
	under := sock.Of(l.conn)
	defer func() {
		if buf != nil {
			l.s.buffers.Put(buf)
		}
	}()
	for {
		if n > 0 {
			used, code := l.pass((*buf)[:n])
			if code != "" {
				return code
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
				return ""
			}
			buf = l.s.buffers.Get().(*[]byte)
			n = copy(*buf, head[:m])
		}
		m, err := l.conn.Read((*buf)[n:])
		if err != nil {
			return ""
		}
		n += m
		// One that does not gather its packets has each in a record. Those that are
		// there go on together.
		for n < gather && under != nil && under.Whole() {
			if m, err = l.conn.Read((*buf)[n:]); err != nil {
				break // the next Read says so again
			}
			n += m
		}
	}
}

// pass takes the whole frames of b: runs of packets, and echoes, go to the other leg
// as they are. It returns how many bytes that were, and what is wrong with the next.
func (l *leg) pass(b []byte) (used int, code string) {
	from := 0
	now := time.Since(l.s.epoch)
	l.bucket.rate = float64(l.pair.bytes.Load())
	if l.s.share != nil {
		l.bucket.most = l.s.share.each()
	}
	shut := l.bucket.shut(now)
	send := func(to int) {
		if from == to {
			return
		}
		if shut {
			l.excess.Add(uint64(to - from))
		} else if other := l.pair.legs[1-l.side].Load(); other == nil || other.out.Pass(b[from:to]) != nil {
			l.missed.Add(uint64(to - from))
		}
	}
	for {
		typ, body, n, err := wire.Next(b[used:])
		if err != nil {
			return used, "malformed"
		}
		if n == 0 {
			break
		}
		switch typ {
		case wire.Packet:
		case wire.Echo, wire.EchoReply:
			if len(body) != wire.EchoSize {
				return used, "malformed"
			}
		default:
			send(used)
			from = used + n
			if code := l.control(typ, body); code != "" {
				return used, code
			}
		}
		used += n
	}
	send(used)
	l.received.Add(uint64(used))
	taken := used
	if shut {
		taken = 0
	}
	if l.s.share != nil {
		l.s.share.take(taken, now)
	}
	if wait := l.bucket.take(taken); wait > 0 {
		time.Sleep(wait)
	}
	return used, ""
}

func (l *leg) control(typ wire.Type, body []byte) (code string) {
	switch typ {
	case wire.Ping:
		if len(body) != wire.EchoSize {
			return "malformed"
		}
		l.out.Put(wire.AppendControl(nil, wire.Pong, body...))
	case wire.Token:
		return l.shown(body)
	case wire.Proof:
		return "malformed"
	}
	return ""
}

// tokenEvery is how often a leg may have a token verified, which costs more than a
// thousand packets: who shows others sooner is not read meanwhile.
const tokenEvery = time.Second

// shown takes a token that was shown on the open leg; the same again is no news.
func (l *leg) shown(token []byte) (code string) {
	sum := sha256.Sum256(token)
	if sum == l.token {
		return ""
	}
	now := time.Now()
	if wait := tokenEvery - now.Sub(l.verified); wait > 0 && !l.verified.IsZero() {
		time.Sleep(wait)
	}
	l.verified = time.Now()
	if code := l.pair.renew(l, token); code != "" {
		return code
	}
	l.token = sum
	return ""
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
