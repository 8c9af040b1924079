package bind

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

// A Route is one way to a peer: a UDP address, or a stream of its packets such as a
// leg at a relay. Routes can be compared; the zero Route is none.
type Route struct {
	addr   netip.AddrPort
	stream *stream
}

// At is the route to a UDP address; of an invalid one it is none.
func At(addr netip.AddrPort) Route {
	if !addr.IsValid() {
		return Route{}
	}
	return Route{addr: unmap(addr)}
}

// Addr is the UDP address, invalid for a stream.
func (r Route) Addr() netip.AddrPort { return r.addr }

// IsStream reports whether packets go through a stream.
func (r Route) IsStream() bool { return r.stream != nil }

// IsZero reports whether r is none.
func (r Route) IsZero() bool { return r == Route{} }

// A BatchConn is a stream that takes and gives many packets in a call.
type BatchConn interface {
	ReadBatch(bufs [][]byte, sizes []int) (int, error)
	WriteBatch(bufs [][]byte) (int, error)
}

const (
	streamPacket = 16 << 10 // bytes of the longest packet
	streamBatch  = 16       // packets that are handed on at once
	streamAhead  = 2        // batches of a stream that wait for the device
)

// A stream is packets of one peer that come and go by a connection.
type stream struct {
	bind *Bind
	peer *Peer
	conn net.Conn
	many BatchConn // nil: one packet at a time
	src  *source
	free chan *batch
	done chan struct{}
	once sync.Once
}

// A batch is packets that were read from a stream.
type batch struct {
	src   *source
	bufs  [][]byte
	sizes []int
	n     int
	next  int // the first that the device does not have yet
	home  chan *batch
}

func newBatch(src *source, home chan *batch) *batch {
	arena := make([]byte, streamBatch*streamPacket) // touched as far as packets reach
	k := &batch{src: src, bufs: make([][]byte, streamBatch), sizes: make([]int, streamBatch), home: home}
	for i := range k.bufs {
		k.bufs[i] = arena[i*streamPacket : (i+1)*streamPacket : (i+1)*streamPacket]
	}
	return k
}

// AddStream makes a route of a connection that keeps packets apart, or of a BatchConn.
// The Bind reads it until that fails or RemoveStream; then, once, it calls ended, unless
// that is nil, from a goroutine of its own. It never closes c, and Writes to c must not
// wait for the network. What comes is p's.
func (p *Peer) AddStream(c net.Conn, ended func(error)) Route {
	s := &stream{bind: p.bind, peer: p, conn: c, src: &source{peer: p}, free: make(chan *batch, streamAhead), done: make(chan struct{})}
	s.many, _ = c.(BatchConn)
	s.src.stream = s
	for range streamAhead {
		s.free <- newBatch(s.src, s.free)
	}
	go func() {
		err := s.read()
		p.RemoveStream(Route{stream: s})
		if ended != nil {
			ended(err)
		}
	}()
	return Route{stream: s}
}

// RemoveStream takes a stream out of p's path and reads it no more; close its connection
// next, or the reader stays. Where it was the path's one leg, p has none.
func (p *Peer) RemoveStream(r Route) {
	if r.stream == nil {
		return
	}
	r.stream.once.Do(func() { close(r.stream.done) })
	switch primary, also := p.Routes(); {
	case also == r:
		p.SetRoutes(primary, Route{})
	case primary == r:
		p.SetRoutes(also, Route{})
	}
}

// read hands batches to the device until the connection fails.
func (s *stream) read() error {
	for {
		var k *batch
		select {
		case k = <-s.free:
		case <-s.done:
			return net.ErrClosed
		}
		var err error
		if k.next = 0; s.many != nil {
			k.n, err = s.many.ReadBatch(k.bufs, k.sizes)
		} else {
			k.n = 1
			k.sizes[0], err = s.conn.Read(k.bufs[0])
		}
		if err != nil {
			return err
		}
		select {
		case s.bind.streams <- k:
		case <-s.done:
			return net.ErrClosed
		}
	}
}

// send sends packets, or loses them.
func (s *stream) send(bufs [][]byte) error {
	if s.many != nil {
		_, err := s.many.WriteBatch(bufs)
		return err
	}
	for _, b := range bufs {
		if _, err := s.conn.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// streamReceiver is the conn.ReceiveFunc of all streams.
type streamReceiver struct {
	bind   *Bind
	closed chan struct{}
	rest   *batch
}

func (r *streamReceiver) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (n int, err error) {
	k := r.rest
	if r.rest = nil; k == nil {
		select {
		case k = <-r.bind.streams:
		case <-r.closed:
			return 0, net.ErrClosed
		}
	}
	run := runOf(k.src)
	for ; k.next < k.n && n < len(bufs); k.next++ {
		size := copy(bufs[n], k.bufs[k.next][:k.sizes[k.next]])
		switch kind := classify(bufs[n][:size]); kind {
		case kindSTUN, kindOther:
			continue // no socket, so nobody who would want it
		case kindTransport:
			if r.bind.waiting.Load() != 0 {
				r.bind.arrived(kind, bufs[n][:size])
			}
		default:
			r.bind.arrived(kind, bufs[n][:size])
		}
		sizes[n], eps[n] = size, k.src.peer.ep
		run.packets++
		run.bytes += size
		n++
	}
	if run.packets > 0 {
		run.end(r.bind)
	}
	if k.next < k.n {
		r.rest = k
	} else {
		k.home <- k
	}
	return n, nil
}

// Heard says when the newest packet of p came by r, before WireGuard has authenticated
// it; the zero time for never.
func (p *Peer) Heard(r Route) time.Time {
	if r.stream != nil {
		return p.bind.at(r.stream.src.rx.Load())
	}
	p.bind.mu.Lock()
	defer p.bind.mu.Unlock()
	if i := slices.IndexFunc(p.sources, func(s *source) bool { return s.addr == r.addr }); i >= 0 {
		return p.bind.at(p.sources[i].rx.Load())
	}
	return time.Time{}
}
