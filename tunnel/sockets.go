package tunnel

import (
	"io"
	"net"
	"sync"
)

// sockets are the host's own that Dial and Listen opened over an adapter. They
// end with the tunnel: the address that they are bound to goes away, and the
// kernel would leave them waiting. The zero value is ready.
type sockets struct {
	mu   sync.Mutex
	open map[io.Closer]struct{}
	over bool
}

// add reports false, and closes c, when the tunnel is over.
func (s *sockets) add(c io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		_ = c.Close()
		return false
	}
	if s.open == nil {
		s.open = make(map[io.Closer]struct{})
	}
	s.open[c] = struct{}{}
	return true
}

func (s *sockets) remove(c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// end closes all of them; connections see a reset at their far ends.
func (s *sockets) end() {
	s.mu.Lock()
	open := s.open
	s.open, s.over = nil, true
	s.mu.Unlock()
	for c := range open {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		_ = c.Close()
	}
}

// keep counts c in and returns it as one that counts itself out.
func (s *sockets) keep(c net.Conn) (net.Conn, error) {
	if !s.add(c) {
		return nil, net.ErrClosed
	}
	switch c := c.(type) {
	case *net.TCPConn:
		return &keptTCP{c, s}, nil
	case *net.UDPConn:
		return &keptUDP{c, s}, nil
	}
	return c, nil
}

type keptTCP struct {
	*net.TCPConn
	sockets *sockets
}

func (c *keptTCP) Close() error {
	c.sockets.remove(c.TCPConn)
	return c.TCPConn.Close()
}

type keptUDP struct {
	*net.UDPConn
	sockets *sockets
}

func (c *keptUDP) Close() error {
	c.sockets.remove(c.UDPConn)
	return c.UDPConn.Close()
}

type keptListener struct {
	net.Listener
	sockets *sockets
}

func (l *keptListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.sockets.keep(c)
}

func (l *keptListener) Close() error {
	l.sockets.remove(l.Listener)
	return l.Listener.Close()
}
