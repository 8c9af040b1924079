// Package sshtest is an SSH server in the test's process, with what a test wants of it:
// ways to sign in, a shell that is a func, and SFTP on a folder.
package sshtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// A Terminal is one shell's, as the server sees it.
type Terminal struct {
	ssh.Channel
	Term       string
	Cols, Rows uint32
	Env        map[string]string
	Sizes      chan [2]uint32 // cols and rows, each time they change
}

// Signer is a host key.
type Signer = ssh.Signer

// Config of a Server. Its zero value takes the user "operator" with the password
// "right".
type Config struct {
	Password    string        // default "right", unless another way is given
	Key         ssh.PublicKey // authorised
	Interactive func(ask ssh.KeyboardInteractiveChallenge) error
	Banner      string
	Flood       bool                   // Banner comes again and again
	Version     string                 // such as SSH-2.0-OpenSSH_for_Windows_9.5
	HostKeys    []ssh.Signer           // default one of Ed25519
	Shell       func(*Terminal) uint32 // returns the exit status; nil: refused
	SFTP        bool
	Subsystem   func(ssh.Channel) // instead of SFTP
}

// A Server lasts until the end of its test.
type Server struct {
	Addr        string
	Fingerprint string // of the first host key

	cfg   Config
	mu    sync.Mutex
	conns map[net.Conn]bool
	tries int // sign-ins that came so far as to a credential
}

// Key makes a host key of a kind: "ed25519", "ecdsa" or "rsa".
func Key(t testing.TB, kind string) ssh.Signer {
	t.Helper()
	var key any
	var err error
	switch kind {
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// Serve starts a server on a loopback port.
func Serve(t testing.TB, cfg Config) *Server {
	t.Helper()
	if len(cfg.HostKeys) == 0 {
		cfg.HostKeys = []ssh.Signer{Key(t, "ed25519")}
	}
	if cfg.Password == "" && cfg.Key == nil && cfg.Interactive == nil {
		cfg.Password = "right"
	}
	s := &Server{cfg: cfg, conns: make(map[net.Conn]bool), Fingerprint: ssh.FingerprintSHA256(cfg.HostKeys[0].PublicKey())}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = ln.Addr().String()
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = true
			s.mu.Unlock()
			work.Go(func() {
				defer c.Close()
				s.serve(c)
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.Cut()
		work.Wait()
	})
	return s
}

// Cut breaks every connection.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// Conns is how many connections are open.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Tries is how many credentials were shown.
func (s *Server) Tries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

func (s *Server) tried() {
	s.mu.Lock()
	s.tries++
	s.mu.Unlock()
}

var errWrong = errors.New("wrong")

func (s *Server) config() *ssh.ServerConfig {
	c := &ssh.ServerConfig{ServerVersion: s.cfg.Version}
	for _, k := range s.cfg.HostKeys {
		c.AddHostKey(k)
	}
	if s.cfg.Flood {
		c.PreAuthConnCallback = func(conn ssh.ServerPreAuthConn) {
			for conn.SendAuthBanner(s.cfg.Banner) == nil {
			}
		}
	}
	if s.cfg.Banner != "" {
		c.BannerCallback = func(ssh.ConnMetadata) string { return s.cfg.Banner }
	}
	if s.cfg.Password != "" {
		c.PasswordCallback = func(m ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			s.tried()
			if m.User() != "operator" || string(password) != s.cfg.Password {
				return nil, errWrong
			}
			return nil, nil
		}
	}
	if s.cfg.Key != nil {
		c.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			s.tried()
			if string(key.Marshal()) != string(s.cfg.Key.Marshal()) {
				return nil, errWrong
			}
			return nil, nil
		}
	}
	if s.cfg.Interactive != nil {
		c.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			s.tried()
			return nil, s.cfg.Interactive(ask)
		}
	}
	return c
}

func (s *Server) serve(c net.Conn) {
	conn, channels, requests, err := ssh.NewServerConn(c, s.config())
	if err != nil {
		return
	}
	defer conn.Close()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		for r := range requests {
			if r.WantReply {
				r.Reply(false, nil)
			}
		}
	})
	for n := range channels {
		if n.ChannelType() != "session" {
			n.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		ch, requests, err := n.Accept()
		if err != nil {
			return
		}
		work.Go(func() {
			defer ch.Close()
			s.session(ch, requests)
		})
	}
}

// session serves the first shell or subsystem of a channel.
func (s *Server) session(ch ssh.Channel, requests <-chan *ssh.Request) {
	t := &Terminal{Channel: ch, Env: make(map[string]string), Sizes: make(chan [2]uint32, 64)}
	for r := range requests {
		switch r.Type {
		case "env":
			var v struct{ Name, Value string }
			ssh.Unmarshal(r.Payload, &v)
			t.Env[v.Name] = v.Value
			r.Reply(true, nil)
		case "pty-req":
			var v struct {
				Term                      string
				Cols, Rows, Width, Height uint32
				Modes                     string
			}
			ssh.Unmarshal(r.Payload, &v)
			t.Term, t.Cols, t.Rows = v.Term, v.Cols, v.Rows
			r.Reply(true, nil)
		case "shell":
			r.Reply(s.cfg.Shell != nil, nil)
			if s.cfg.Shell != nil {
				s.shell(t, requests)
				return
			}
		case "subsystem":
			ok := s.cfg.SFTP || s.cfg.Subsystem != nil
			r.Reply(ok, nil)
			if ok {
				s.subsystem(ch, requests)
				return
			}
		default:
			r.Reply(false, nil)
		}
	}
}

func (s *Server) shell(t *Terminal, requests <-chan *ssh.Request) {
	var work sync.WaitGroup
	work.Go(func() {
		for r := range requests {
			if r.Type == "window-change" {
				var v struct{ Cols, Rows, Width, Height uint32 }
				ssh.Unmarshal(r.Payload, &v)
				t.Sizes <- [2]uint32{v.Cols, v.Rows}
			}
			if r.WantReply {
				r.Reply(false, nil)
			}
		}
	})
	status := s.cfg.Shell(t)
	t.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
	t.Close()
	work.Wait()
}

func (s *Server) subsystem(ch ssh.Channel, requests <-chan *ssh.Request) {
	go ssh.DiscardRequests(requests)
	if s.cfg.Subsystem != nil {
		s.cfg.Subsystem(ch)
		return
	}
	srv, err := sftp.NewServer(ch)
	if err == nil {
		srv.Serve()
		srv.Close()
	}
}

// A Target leads to a server, as a held session does to its device.
type Target struct {
	Server *Server
	Name   string // of the device; default "kiosk-1"
	Login  string
	Signed string // hash of its host key; default the server's own, "none": it signed none

	ctx    context.Context
	cancel context.CancelCauseFunc
}

// Lead returns a target of the server that lasts until the test's end, or Cancel.
func (s *Server) Lead(t testing.TB) *Target {
	target := &Target{Server: s}
	target.ctx, target.cancel = context.WithCancelCause(context.Background())
	t.Cleanup(func() { target.cancel(nil) })
	return target
}

// Cancel ends the target's session or login.
func (t *Target) Cancel(why error) { t.cancel(why) }

// Key implements sshconn.Target.
func (t *Target) Key() string { return t.Device() + " " + t.Login }

// Device implements sshconn.Target.
func (t *Target) Device() string {
	if t.Name == "" {
		return "kiosk-1"
	}
	return t.Name
}

// Dial implements sshconn.Target.
func (t *Target) Dial(ctx context.Context, _ uint16) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", t.Server.Addr)
}

// HostKey implements sshconn.Target.
func (t *Target) HostKey(context.Context) (string, error) {
	switch t.Signed {
	case "":
		return t.Server.Fingerprint, nil
	case "none":
		return "", nil
	}
	return t.Signed, nil
}

// Done implements sshconn.Target.
func (t *Target) Done() <-chan struct{} { return t.ctx.Done() }

// Context is that of a tab.
func (t *Target) Context() context.Context { return t.ctx }

// Err is that of a tab.
func (t *Target) Err() error { return context.Cause(t.ctx) }

// Close is that of a tab.
func (t *Target) Close() {}

// Echo is a shell that says back what it is told, until it is told "exit" and a line.
func Echo(t *Terminal) uint32 {
	buf := make([]byte, 4096)
	for {
		n, err := t.Read(buf)
		if err != nil {
			return 1
		}
		if string(buf[:n]) == "exit\r" {
			io.WriteString(t, "bye\r\n")
			return 7
		}
		if _, err := t.Write(buf[:n]); err != nil {
			return 1
		}
	}
}
