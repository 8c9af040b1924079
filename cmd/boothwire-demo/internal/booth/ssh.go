package booth

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// A Server is an SSH server on a loopback port: commands and a shell in one
// folder, and SFTP on it, for one authorised key.
type Server struct {
	dir  string
	ln   net.Listener
	host ssh.Signer
	cfg  *ssh.ServerConfig

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	wg     sync.WaitGroup
}

// Serve starts a server on a free port of 127.0.0.1; Close ends it.
func Serve(dir string, authorised ssh.PublicKey) (*Server, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	host, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		return nil, err
	}
	want := string(authorised.Marshal())
	s := &Server{dir: dir, host: host, conns: make(map[net.Conn]bool)}
	s.cfg = &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != want {
			return nil, errors.New("this key is not authorised")
		}
		return nil, nil
	}}
	s.cfg.AddHostKey(host)
	if s.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("serve ssh: %w", err)
	}
	s.wg.Go(s.accept)
	return s, nil
}

// Addr is the loopback address that the server listens on.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// HostKey is the server's public key.
func (s *Server) HostKey() ssh.PublicKey { return s.host.PublicKey() }

// Fingerprint is the SHA-256 of the host key, as a device publishes it.
func (s *Server) Fingerprint() [32]byte { return sha256.Sum256(s.host.PublicKey().Marshal()) }

// Conns is the number of connections now open.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Close ends every connection and waits for its goroutines.
func (s *Server) Close() error {
	err := s.ln.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

func (s *Server) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed { // accepted while Close closed the others
			s.mu.Unlock()
			c.Close()
			return
		}
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(c)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *Server) serve(c net.Conn) {
	defer c.Close()
	_, channels, requests, err := ssh.NewServerConn(c, s.cfg)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for n := range channels {
		if n.ChannelType() != "session" {
			n.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		ch, requests, err := n.Accept()
		if err != nil {
			return
		}
		sessions.Go(func() { s.session(ch, requests) })
	}
}

// session serves the first exec, shell or sftp request of a channel.
func (s *Server) session(ch ssh.Channel, requests <-chan *ssh.Request) {
	defer ch.Close()
	for r := range requests {
		var code uint32
		switch r.Type {
		case "subsystem":
			var name struct{ Name string }
			if ssh.Unmarshal(r.Payload, &name) != nil || name.Name != "sftp" {
				r.Reply(false, nil)
				continue
			}
			r.Reply(true, nil)
			s.sftp(ch)
		case "exec":
			var line struct{ Command string }
			if ssh.Unmarshal(r.Payload, &line) != nil {
				r.Reply(false, nil)
				continue
			}
			r.Reply(true, nil)
			code = s.command(ch, requests, line.Command)
		case "shell":
			r.Reply(true, nil)
			code = s.command(ch, requests, "")
		default:
			r.Reply(r.Type == "env", nil) // no terminal: a shell here reads lines
			continue
		}
		ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{code}))
		return
	}
}

func (s *Server) sftp(ch ssh.Channel) {
	srv, err := sftp.NewServer(ch, sftp.WithServerWorkingDirectory(s.dir))
	if err != nil {
		return
	}
	srv.Serve()
	srv.Close()
}

// command runs a line of the system's shell, or the shell itself, in the folder
// and ends it with the channel.
func (s *Server) command(ch ssh.Channel, requests <-chan *ssh.Request, line string) uint32 {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for r := range requests {
			r.Reply(false, nil)
		}
		cancel()
	}()
	shell, flag := "/bin/sh", "-c"
	if runtime.GOOS == "windows" {
		shell, flag = "cmd.exe", "/C"
	}
	var args []string
	if line != "" {
		args = []string{flag, line}
	}
	cmd := exec.CommandContext(ctx, shell, args...)
	cmd.Dir = s.dir
	cmd.WaitDelay = time.Second // what the line left in the background may hold its output
	cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil {
		return 1
	}
	go func() {
		io.Copy(in, ch)
		in.Close()
	}()
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return uint32(exit.ExitCode())
	default:
		fmt.Fprintln(ch.Stderr(), err)
		return 1
	}
}
