// Package postgrestest runs a real PostgreSQL for one test: a cluster of its own in
// a temporary folder, on a socket in it, under a user that is not root, gone with the
// test.
package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const role = "boothwire"

// patience is far more than a start should take, on a machine that has much else to do.
const patience = time.Minute

// A Server is a running PostgreSQL.
type Server struct {
	t    testing.TB
	bin  string // folder of its programs
	dir  string
	made atomic.Int32 // databases
	cmd  *exec.Cmd
	done chan struct{} // closed when the process is gone
	thaw func()        // nil: not frozen
}

// Start runs a server until the test ends. Without PostgreSQL it skips the test; with
// CI=true in the environment it fails it.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, bin: find(t)}
	// Not the test's own folder: another user cannot pass through that of root.
	dir, err := os.MkdirTemp("", "boothwire-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	s.dir = dir
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := own(dir); err != nil {
		t.Fatal(err)
	}
	s.initialise()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("postgres:\n%s", s.log())
		}
	})
	return s
}

func find(t testing.TB) string {
	t.Helper()
	if bin, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(bin)
	}
	if all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres"); len(all) > 0 {
		return filepath.Dir(all[len(all)-1])
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("PostgreSQL is not installed")
	}
	t.Skip("PostgreSQL is not installed: apt-get install postgresql")
	return ""
}

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	unprivileged(cmd)
	return cmd
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) initialise() {
	s.t.Helper()
	// Nobody else reaches a socket in this folder; a password would cost a test with the
	// race detector seconds.
	cmd := s.command("initdb", "--pgdata", s.data(), "--username", role,
		"--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("initdb: %v\n%s", err, out)
	}
}

func (s *Server) start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.command("postgres", "-D", s.data(), "-c", "listen_addresses=",
		"-c", "unix_socket_directories="+s.dir, "-c", "fsync=off", "-c", "max_connections=100")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	s.cmd, s.done = cmd, done
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err = s.query("postgres", "SELECT 1"); err == nil {
			return nil
		}
		select {
		case <-done:
			s.cmd = nil
			return fmt.Errorf("postgres ended: %s", s.log())
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.Kill()
	return fmt.Errorf("postgres does not answer: %w", err)
}

func (s *Server) url(database string) string {
	return fmt.Sprintf("postgres://%s@/%s?host=%s", role, database, s.dir)
}

func (s *Server) query(database, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url(database))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, text)
	return errors.Join(err, conn.Close(ctx))
}

// Database makes an empty database and returns its URL, which holds in every network
// namespace.
func (s *Server) Database() string {
	s.t.Helper()
	name := fmt.Sprintf("db%d", s.made.Add(1))
	if err := s.query("postgres", "CREATE DATABASE "+name); err != nil {
		s.t.Fatal(err)
	}
	return s.url(name)
}

// Kill ends the server at once, as a crash would, and waits until it is gone.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	s.Thaw()
	abort(s.cmd.Process)
	<-s.done
	s.cmd = nil
}

// Restart starts the server again.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Freeze stops the server where it stands, connections and all, until Thaw: whoever
// asks it waits.
func (s *Server) Freeze() {
	s.t.Helper()
	thaw, err := freeze(s.cmd.Process.Pid)
	if err != nil {
		s.t.Fatal(err)
	}
	s.thaw = thaw
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw() {
	if s.thaw != nil {
		s.thaw()
		s.thaw = nil
	}
}

func (s *Server) log() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}
