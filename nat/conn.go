package nat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/boothwire/boothwire/internal/deadline"
)

// A Conn is a path that was found. The tunnel's packets do not go through it: it
// says where they go from the socket that Dial or Accept was given, and when the
// path is lost. It is closed by its owner, also after it was lost; until then it
// reads the socket and the exchanger, and keeps the path alive. Its methods may be
// called concurrently.
type Conn struct {
	search   *search
	pair     Pair
	own, far *keys
	tie      uint64 // of the agent that Check stands for (RFC 8445, section 7.1.2)
	report   atomic.Pointer[string]
	ctx      context.Context // ends when the path is lost, with the reason
	lose     context.CancelCauseFunc
	read     *deadline.Deadline
}

var _ net.Conn = (*Conn)(nil)

func newConn(s *search, p Pair) *Conn {
	c := &Conn{
		search: s,
		pair:   p,
		own:    s.try.own,
		far:    s.try.far,
		tie:    tieBreaker(),
		read:   deadline.New(),
	}
	c.hear(s.try.exchange.farText)
	c.ctx, c.lose = context.WithCancelCause(context.Background())
	return c
}

// reason is why the path is lost, nil as long as it is not.
func (c *Conn) reason() error { return context.Cause(c.ctx) }

// SocketAddr returns where the tunnel's packets go, from the tunnel's own socket.
// It does not change: a path that moves is lost.
func (c *Conn) SocketAddr() netip.AddrPort { return c.pair.Remote.Addr }

// Pair returns the candidates that the path runs between.
func (c *Conn) Pair() Pair { return c.pair }

// FarReport returns what the far end's Config.Report said, "" if nothing; it may come
// some seconds after the path. It is the far end's word: printable ASCII, no more.
func (c *Conn) FarReport() string { return *c.report.Load() }

func (c *Conn) hear(report string) { c.report.Store(&report) }

// Read waits until the path is lost and returns why, an *Error; net.ErrClosed
// after Close. It never returns data. A path is lost when the far end's checks
// stay away for 2.5 times the keepalive, when the far end looks for another path,
// or when the socket fails. Check tells it sooner.
func (c *Conn) Read([]byte) (int, error) {
	select {
	case <-c.ctx.Done():
	case <-c.read.Wait():
		if c.ctx.Err() == nil {
			return 0, os.ErrDeadlineExceeded
		}
	}
	return 0, c.reason()
}

// Write sends nothing and fails with errors.ErrUnsupported.
func (c *Conn) Write([]byte) (int, error) {
	if err := c.reason(); err != nil {
		return 0, err
	}
	return 0, &Error{Reason: ReasonUnsupported, Err: fmt.Errorf("packets go to SocketAddr: %w", errors.ErrUnsupported)}
}

// Close ends the checks and waits for every goroutine. The socket stays open; the
// far end is not told.
func (c *Conn) Close() error {
	c.lose(net.ErrClosed)
	c.search.close()
	return nil
}

// LocalAddr returns the socket's address.
func (c *Conn) LocalAddr() net.Addr { return c.search.local }

// RemoteAddr returns SocketAddr.
func (c *Conn) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(c.pair.Remote.Addr) }

// SetDeadline is SetReadDeadline: Write does not wait.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline makes Read return os.ErrDeadlineExceeded after t, also the one
// that waits now.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.read.Set(t)
	return nil
}

// SetWriteDeadline does nothing.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
