package booth

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/boothwire/boothwire/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func signer(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func dial(s *Server, key ssh.Signer) (*ssh.Client, error) {
	return ssh.Dial("tcp", s.Addr(), &ssh.ClientConfig{User: "engineer", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.FixedHostKey(s.HostKey())})
}

func TestServer(t *testing.T) {
	dir, key := t.TempDir(), signer(t)
	if err := Fill(dir, "kiosk-1", 1000); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, Log)); err != nil || info.Size() != 1000 {
		t.Errorf("the log: %v, %v", info, err)
	}
	s, err := Serve(dir, key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if c, err := dial(s, signer(t)); err == nil {
		c.Close()
		t.Error("a stranger's key was let in")
	}
	c, err := dial(s, key)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	files, err := sftp.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if ok, err := Repair(dir); ok || err != nil {
		t.Errorf("repaired by itself: %t, %v", ok, err)
	}
	if err := files.Remove(Stuck); err != nil {
		t.Error(err)
	}
	if ok, err := Repair(dir); !ok || err != nil {
		t.Errorf("not repaired: %t, %v", ok, err)
	}
}

// A command's exit status comes back, and what it leaves in the background does not
// hold its session, nor the server's end.
func TestCommands(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil || runtime.GOOS == "windows" {
		t.Skip("no sh")
	}
	key := signer(t)
	dir := t.TempDir()
	s, err := Serve(dir, key.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if pid, err := os.ReadFile(filepath.Join(dir, "pid")); err == nil {
			exec.Command("sh", "-c", "kill "+string(pid)).Run()
		}
	}()
	c, err := dial(s, key)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	run := func(line string) error {
		session, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		return session.Run(line)
	}
	if err, ok := run("exit 7").(*ssh.ExitError); !ok || err.ExitStatus() != 7 {
		t.Errorf("exit 7: %v", err)
	}
	ended := make(chan struct{})
	go func() { run("sleep 60 & echo $! >pid"); s.Close(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("a command in the background holds the server")
	}
	if n := s.Conns(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}
