package bind

import (
	"net"
	"slices"
	"sync"
)

// A BatchConn is a connection that takes and gives many packets in a call.
type BatchConn interface {
	// ReadBatch waits for packets and puts each into one of bufs, its length into
	// sizes. Of one that is longer than its buffer the rest is lost.
	ReadBatch(bufs [][]byte, sizes []int) (int, error)
	// WriteBatch does not keep bufs.
	WriteBatch(bufs [][]byte) (int, error)
}

const (
	streamPacket = 16 << 10 // bytes of the longest packet, a relay's
	streamBatch  = 16       // packets of one read: they hold 256 KiB for each stream
)

// A stream is packets of one peer that come and go by a connection.
type stream struct {
	bind *Bind
	conn net.Conn
	many BatchConn // nil: one packet at a time
	src  *source
	once sync.Once
	done chan struct{} // closed when it is over
}

// AddStream makes a route of a connection that keeps packets apart, or of a BatchConn.
// The Bind reads it until that fails or the stream is removed, with RemoveStream or
// with p; then the route is in no path any more, and ended is called once with the
// reason, unless it is nil, from the reader's goroutine. The Bind never closes c.
// What comes is p's and carries its endpoint.
//
// Writes to c must not wait for the network but lose what finds no room: they are
// within a send of the device, before the path's other leg gets its copy.
func (p *Peer) AddStream(c net.Conn, ended func(error)) Route {
	s := &stream{bind: p.bind, conn: c, src: &source{peer: p}, done: make(chan struct{})}
	s.many, _ = c.(BatchConn)
	s.src.stream = s
	p.bind.mu.Lock()
	if p.bind.peers[p.id] == p {
		p.streams = append(p.streams, s)
	} else {
		s.end()
	}
	p.bind.mu.Unlock()
	go func() {
		err := s.read()
		p.RemoveStream(Route{stream: s})
		if ended != nil {
			ended(err)
		}
	}()
	return Route{stream: s}
}

// RemoveStream takes a stream out of p's path, for good. Where it was the path's one
// leg, p has none; its second leg is the primary one now. It is idempotent and does
// nothing to another peer's stream. The reader ends at the connection's next packet or
// error: close it next.
func (p *Peer) RemoveStream(r Route) {
	if r.stream == nil || r.stream.src.peer != p {
		return
	}
	r.stream.end()
	p.bind.setPaths(p, false, func(primary, also Route) (Route, Route) {
		p.streams = slices.DeleteFunc(p.streams, func(s *stream) bool { return s == r.stream })
		switch r {
		case primary:
			return also, Route{}
		case also:
			return primary, Route{}
		}
		return primary, also
	})
}

func (s *stream) end() { s.once.Do(func() { close(s.done) }) }

func (s *stream) over() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// read queues what comes until the connection fails or the stream is over.
func (s *stream) read() error {
	n := 1
	if s.many != nil {
		n = streamBatch
	}
	bufs, sizes := make([][]byte, n), make([]int, n)
	for i := range bufs {
		bufs[i] = make([]byte, streamPacket)
	}
	for {
		var n int
		var err error
		if s.many != nil {
			n, err = s.many.ReadBatch(bufs, sizes)
		} else if sizes[0], err = s.conn.Read(bufs[0]); err == nil {
			n = 1
		}
		if s.over() {
			return net.ErrClosed
		}
		if lost := s.bind.streams.put(s.src, bufs, sizes[:n]); lost > 0 {
			s.src.peer.rxDropped.Add(uint64(lost))
		}
		if err != nil {
			return err
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
