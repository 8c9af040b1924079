package operator

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"go.uber.org/zap"
)

// Forward connects each connection that ln accepts to a granted port of the
// device, until ctx ends or the session does; then it closes ln and what it
// forwards, and returns ctx's error or why the session ended.
func (s *Session) Forward(ctx context.Context, ln net.Listener, address string) error {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() {
		select {
		case <-ctx.Done():
		case <-s.done:
		}
		ln.Close()
	})
	for {
		c, err := ln.Accept()
		if err != nil {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, net.ErrClosed):
				select {
				case <-s.done:
					return s.reason()
				default:
				}
			}
			return err
		}
		work.Go(func() {
			far, err := s.Dial(ctx, "tcp", address)
			if err != nil {
				s.log.Warn("forward", zap.String("address", address), zap.Error(err))
				c.Close()
				return
			}
			join(ctx, c, far)
		})
	}
}

// join copies between two connections until both directions have ended or ctx
// has, carries each half-close across, and closes both.
func join(ctx context.Context, a, b net.Conn) {
	stop := context.AfterFunc(ctx, func() { a.Close(); b.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { pour(a, b) })
	both.Go(func() { pour(b, a) })
	both.Wait()
	a.Close()
	b.Close()
}

// pour copies until from ends. An error takes the whole connection down, so that
// neither end waits for the other.
func pour(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok {
		to.Close()
		from.Close()
		return
	}
	half.CloseWrite()
}
