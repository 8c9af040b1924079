package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) proxy() *cobra.Command {
	c := &cobra.Command{
		Use:     "proxy DEVICE PORT",
		Short:   "connect stdin and stdout to a device's port, for ssh's ProxyCommand",
		Example: `  ssh -o ProxyCommand="boothctl proxy %h %p" kiosk-00042`,
		Args:    cobra.ExactArgs(2),
	}
	o := a.opens(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		port, err := parseStream(args[1])
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context(), args[0], o, port)
		if err != nil {
			return err
		}
		conn, err := s.Dial(cmd.Context(), port.Proto, target(port))
		if err == nil {
			err = pipe(cmd.Context(), conn, a.in, a.out, linger)
			if errors.Is(err, context.Canceled) {
				err = exitStatus(exitInterrupted) // a signal is how ssh ends its proxy: nothing to tell
			}
		}
		if e := s.Err(); e != nil {
			err = e // why the connection broke
		}
		if e := s.Close(); err == nil {
			err = e
		}
		return err
	}
	return c
}

// linger is how long a far end may be silent once the program has said all that
// it will: a program that was killed must not hold a session open.
const linger = time.Minute

// pipe copies between a connection and the program behind in and out, until both
// directions have ended, the program or ctx is gone, or the connection breaks. It
// closes conn, and out as soon as the far end has said all. A read of in that is
// under way is left to the end of the process: nothing unblocks a terminal.
func pipe(ctx context.Context, conn net.Conn, in io.Reader, out io.Writer, linger time.Duration) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	silence := time.AfterFunc(linger, func() { conn.Close() })
	silence.Stop()
	defer silence.Stop()

	sent, got := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, in)
		if half, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
			err = half.CloseWrite()
		}
		sent <- err
	}()
	far := &heard{Reader: conn, silence: silence, linger: linger}
	go func() {
		_, err := io.Copy(out, far)
		if c, ok := out.(io.Closer); ok {
			c.Close() // the program learns of it only so
		}
		got <- err
	}()
	for sent != nil || got != nil {
		var err error
		select {
		case err = <-got:
			got = nil
		case err = <-sent:
			sent = nil
			silence.Reset(linger)
		case <-ctx.Done():
			return ctx.Err()
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe), sent == nil && errors.Is(err, net.ErrClosed):
			return nil // the program is gone
		default:
			return err
		}
	}
	return nil
}

// heard puts off the end of a lingering connection while it speaks.
type heard struct {
	io.Reader
	silence *time.Timer
	linger  time.Duration
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	// Stop says whether it was running: before the program's end it is not.
	if n > 0 && h.silence.Stop() {
		h.silence.Reset(h.linger)
	}
	return n, err
}
