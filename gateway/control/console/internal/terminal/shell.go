package terminal

import (
	"context"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/boothwire/boothwire/gateway/control/console/internal/sshconn"
)

// exitTimeout bounds the wait for a shell's status after its output has ended.
const exitTimeout = 5 * time.Second

// shell opens a shell and is its terminal until either is over. It returns why.
func (s *socket) shell(ctx context.Context, conn *sshconn.Conn, first size, is *ready) error {
	sh, err := conn.Shell(ctx, first.Cols, first.Rows)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var pumps sync.WaitGroup
	defer pumps.Wait()
	defer sh.Close() // ends the pumps that wait for the shell
	defer end(nil)   // and those that wait for the page
	if err := s.send(notice{Ready: is}); err != nil {
		return err
	}
	exited := make(chan sshconn.Exit, 1)
	pumps.Go(func() { exited <- sh.Wait() })
	pumps.Go(func() { end(s.keystrokes(ctx, sh)) })
	shown := make(chan error, 1)
	pumps.Go(func() { shown <- s.output(ctx, sh) })
	pumps.Go(func() { s.resizes(ctx, sh) })

	select {
	case err = <-shown:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	var exit sshconn.Exit
	select {
	case exit = <-exited:
	case <-time.After(exitTimeout):
		exit.Lost = true
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if exit.Lost { // by its connection's end, perhaps, which is known a moment later
		select {
		case <-conn.Done():
		case <-time.After(exitTimeout):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if why := conn.Err(); why != nil {
		return why
	}
	if err := s.send(notice{Exit: &exit}); err != nil {
		return err
	}
	return errExit
}

// output copies what the shell prints to the page until it ends, which is nil, as fast
// as the page says that it has shown it.
func (s *socket) output(ctx context.Context, sh *sshconn.Shell) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := sh.Out.Read(buf)
		if n > 0 {
			if err := s.out.take(ctx, n); err != nil {
				return err
			}
			if err := s.write(websocket.MessageBinary, buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// keystrokes copies what the page sends to the shell, and says how much it took. It
// returns nothing before ctx ends unless the page is gone.
func (s *socket) keystrokes(ctx context.Context, sh *sshconn.Shell) error {
	for {
		keys, err := s.in.next(ctx)
		if err != nil {
			return err
		}
		if _, err := sh.In.Write(keys); err != nil {
			<-ctx.Done() // the shell is over: its output says when
			return ctx.Err()
		}
		s.in.done()
		if err := s.send(notice{Ack: len(keys)}); err != nil {
			return err
		}
	}
}

// resizes tells the shell the page's size.
func (s *socket) resizes(ctx context.Context, sh *sshconn.Shell) {
	for {
		select {
		case is := <-s.sizes:
			sh.Resize(is.Cols, is.Rows)
		case <-ctx.Done():
			return
		}
	}
}
