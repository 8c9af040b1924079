//go:build linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
)

// patience is ten times what anything here should take.
const patience = 60 * time.Second

var folder string // of the whole run

// programs builds cmd/... once, into the folder.
var programs = sync.OnceValue(func() error {
	args := []string{"build", "-o", folder + "/"}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/...", "./examples/...")...)
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
})

func TestMain(m *testing.M) {
	if text := os.Getenv(tunnelEndEnv); text != "" {
		if err := tunnelEndMain(text); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			os.Exit(1)
		}
		return
	}
	folder = must(os.MkdirTemp("", "boothwire-e2e-"))
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// program is the path of one of ours.
func program(t testing.TB, name string) string {
	t.Helper()
	if err := programs(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, name)
}

// A process is a daemon on a host that the test can stop, kill and start again.
type process struct {
	t     testing.TB
	name  string
	host  *netlab.Host
	args  []string
	env   []string
	log   *logBuffer
	quiet bool // its log is not shown when the test fails

	cmd  *exec.Cmd
	gone chan error
}

// start runs a program on a host until the test ends.
func start(t testing.TB, host *netlab.Host, name string, args ...string) *process {
	t.Helper()
	return startWith(t, host, nil, name, args...)
}

// startWith is start with more in the environment.
func startWith(t testing.TB, host *netlab.Host, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: filepath.Base(name), host: host, args: append([]string{name}, args...), env: env, log: new(logBuffer)}
	p.run()
	t.Cleanup(func() {
		p.kill()
		if strings.Contains(p.log.String(), "WARNING: DATA RACE") {
			t.Errorf("%s on %s: a data race", p.name, host.Name)
		}
		if t.Failed() && !p.quiet {
			t.Logf("log of %s on %s:\n%s", p.name, host.Name, p.log.tail(12000))
		}
	})
	return p
}

func (p *process) run() {
	p.t.Helper()
	p.cmd = p.host.Command(context.Background(), p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.Env = append(os.Environ(), p.env...)
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	p.gone = make(chan error, 1)
	go func(cmd *exec.Cmd, gone chan error) { gone <- cmd.Wait(); close(gone) }(p.cmd, p.gone)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill is SIGKILL, and waits until the process is gone.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.gone
}

// stop is SIGTERM; it fails the test unless the process then exits with 0.
func (p *process) stop() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.gone:
		if err != nil {
			p.t.Errorf("%s did not end well: %v", p.name, err)
		}
	case <-time.After(patience):
		p.t.Errorf("%s did not end when asked", p.name)
		p.kill()
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: signal %v: %v", p.name, s, err)
	}
}

// waitLog waits until the log holds text, from the given place on.
func (p *process) waitLog(from int, text string) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s logs %q", p.name, text), func() error {
		if strings.Contains(p.log.since(from), text) {
			return nil
		}
		select {
		case err := <-p.gone:
			if !strings.Contains(p.log.since(from), text) { // nor was it the last that it said
				p.t.Fatalf("%s ended: %v\n%s", p.name, err, p.log.tail(4000))
			}
			return nil
		default:
		}
		return errors.New("not yet")
	})
}

// A logBuffer keeps what a process prints.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

var _ io.Writer = (*logBuffer)(nil)

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string { return b.since(0) }

func (b *logBuffer) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Len()
}

func (b *logBuffer) since(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.buf.Bytes()[n:])
}

func (b *logBuffer) tail(n int) string {
	s := b.String()
	return s[max(0, len(s)-n):]
}

// eventually polls until try succeeds, and fails the test with its last error.
func eventually(t testing.TB, what string, try func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// freeze stops a process where it stands until the returned func is called.
func freeze(ps ...*process) (thaw func()) {
	for _, p := range ps {
		p.signal(syscall.SIGSTOP)
	}
	return func() {
		for _, p := range ps {
			p.signal(syscall.SIGCONT)
		}
	}
}
