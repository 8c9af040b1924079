package server

import (
	"context"
	"net"
	"sync"
)

// Dial makes a connection inside this process, as relay.Config's Near returns it: a
// leg on it needs no TLS, does not depend on a network, and must prove its key like
// every other. It waits for Serve, and returns net.ErrClosed once that is over.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case s.inside.conns <- far:
		return near, nil
	case <-s.inside.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// inside is the listener of what Dial makes.
type inside struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

func newInside() inside {
	done := make(chan struct{})
	return inside{make(chan net.Conn), done, sync.OnceFunc(func() { close(done) })}
}

// Accept takes what comes past the door: strangers have no way here.
func (i inside) Accept() (net.Conn, error) {
	select {
	case c := <-i.conns:
		return &counted{Conn: c, leave: func() {}}, nil
	case <-i.done:
		return nil, net.ErrClosed
	}
}

func (i inside) Close() error {
	i.close()
	return nil
}

func (i inside) Addr() net.Addr { return &net.UnixAddr{Name: "inside", Net: "pipe"} }
