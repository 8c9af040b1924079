//go:build linux

package rdptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
)

// patience is ten times what anything here should take.
const patience = 60 * time.Second

// A process runs until the test ends.
type process struct {
	name string
	cmd  *exec.Cmd
	gone chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

// start runs a program on a host, or beside the test where host is nil. The environment
// is added to the test's own.
func start(t testing.TB, host *netlab.Host, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{name: name, gone: make(chan struct{})}
	if host != nil {
		p.cmd = host.Command(context.Background(), name, args...)
	} else {
		p.cmd = exec.Command(name, args...)
	}
	p.cmd.Env = append(append(os.Environ(), "TMPDIR="+t.TempDir()), env...) // a terminal that is killed leaves something there
	p.cmd.Stdout, p.cmd.Stderr = p, p
	// What a terminal started ends with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("rdptest: start %s: %v", name, err)
	}
	go func() { p.cmd.Wait(); close(p.gone) }()
	t.Cleanup(func() {
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
		select { // an X server takes its socket with it
		case <-p.gone:
		case <-time.After(2 * time.Second):
		}
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // the rest of its group
		<-p.gone
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, p.tail())
		}
	})
	return p
}

// Write keeps what the process prints.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.log.Bytes()
	return string(b[max(0, len(b)-4000):])
}

// await polls until ready succeeds; it fails the test when the process ends before.
func (p *process) await(t testing.TB, what string, ready func() error) {
	t.Helper()
	err := errors.New("not asked yet")
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case <-p.gone:
			t.Fatalf("rdptest: %s ended: %v\n%s", p.name, p.cmd.ProcessState, p.tail())
		default:
		}
		if err = ready(); err == nil {
			return
		}
	}
	t.Fatalf("rdptest: %s: %s: %v\n%s", p.name, what, err, p.tail())
}

// write makes a file in the test's folder.
func write(t testing.TB, path, format string, args ...any) {
	t.Helper()
	if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		t.Fatal(err)
	}
}
