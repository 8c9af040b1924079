package sshconn

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// A Shell is a login shell in a terminal of its own.
type Shell struct {
	In  io.WriteCloser
	Out io.Reader // what it prints, both streams; it ends with the shell

	session *ssh.Session
	close   func()
}

// An Exit is how a shell ended.
type Exit struct {
	Status int    `json:"status"`           // as the shell says
	Signal string `json:"signal,omitempty"` // that killed it, without SIG
	Lost   bool   `json:"lost,omitempty"`   // the server did not say
}

// locale lets programs write UTF-8 where the login would leave them at plain ASCII.
const locale = "C.UTF-8"

// Shell opens a terminal. Close ends it.
func (c *Conn) Shell(ctx context.Context, cols, rows int) (*Shell, error) {
	sh := new(Shell)
	s, err := c.session(ctx, func(s *ssh.Session) (err error) {
		s.Setenv("LANG", locale) // a server may refuse
		if err = s.RequestPty("xterm-256color", rows, cols, ssh.TerminalModes{}); err != nil {
			return err
		}
		if sh.In, err = s.StdinPipe(); err != nil {
			return err
		}
		if sh.Out, err = s.StdoutPipe(); err != nil {
			return err
		}
		s.Stderr = io.Discard // a terminal has one stream
		return s.Shell()
	})
	if err != nil {
		return nil, err
	}
	sh.session, sh.close = s, c.closer(s)
	return sh, nil
}

// Resize tells the shell the terminal's size, in characters.
func (s *Shell) Resize(cols, rows int) error { return s.session.WindowChange(rows, cols) }

// Wait waits until the shell has ended, by itself, by Close or with the connection.
func (s *Shell) Wait() Exit {
	err := s.session.Wait()
	if e, ok := errors.AsType[*ssh.ExitError](err); ok {
		return Exit{Status: e.ExitStatus(), Signal: clip(e.Signal())}
	}
	return Exit{Lost: err != nil}
}

// Close hangs up. It is idempotent.
func (s *Shell) Close() error {
	s.close()
	return nil
}

// A Stream is a subsystem of the server's.
type Stream struct {
	io.Reader
	io.Writer
	close func()
}

// Close ends the stream. It is idempotent.
func (s *Stream) Close() error {
	s.close()
	return nil
}

// Subsystem opens a subsystem, such as sftp.
func (c *Conn) Subsystem(ctx context.Context, name string) (*Stream, error) {
	st := new(Stream)
	s, err := c.session(ctx, func(s *ssh.Session) (err error) {
		if st.Writer, err = s.StdinPipe(); err != nil {
			return err
		}
		if st.Reader, err = s.StdoutPipe(); err != nil {
			return err
		}
		words, err := s.StderrPipe()
		if err != nil {
			return err
		}
		go io.Copy(io.Discard, words) // unread they would stop the rest; ends with the channel
		return s.RequestSubsystem(name)
	})
	if err != nil {
		return nil, err
	}
	st.close = c.closer(s)
	return st, nil
}

// closer closes a channel once and gives its slot back.
func (c *Conn) closer(s *ssh.Session) func() {
	return sync.OnceFunc(func() {
		s.Close()
		c.release()
	})
}
