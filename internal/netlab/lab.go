package netlab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// prefix begins the name of every namespace of ours: bwlab-PID-N-NAME.
const prefix = "bwlab-"

// labs numbers the labs of this process, so that two of them may live at once.
var labs atomic.Int64

// A Lab is one test's network. Its methods fail the test rather than return
// errors; they are not safe for concurrent use, unlike those of its hosts.
type Lab struct {
	t     testing.TB
	id    string
	hosts []*Host
	links []*Link
}

// New makes an empty lab that ends with the test. The test is skipped, with the
// reason, where namespaces cannot be made; with CI set it fails instead.
func New(t testing.TB) *Lab {
	t.Helper()
	Require(t, "ip", "nft", "nsenter")
	if os.Getuid() != 0 {
		Missing(t, "network namespaces need root")
	}
	reclaim()
	l := &Lab{t: t, id: fmt.Sprintf("%s%d-%d-", prefix, os.Getpid(), labs.Add(1))}
	t.Cleanup(l.close)
	return l
}

// Require skips the test where one of the programs is missing, or fails it
// where CI is set.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if _, err := os.Stat("/usr/sbin/" + p); err == nil {
				continue
			}
			Missing(t, "this test needs "+p+" (apt-get install it, or make deps)")
		}
	}
}

// Missing skips a test for what the machine lacks, or fails it where CI is set.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// reclaim deletes the namespaces of runs whose process is gone.
func reclaim() {
	entries, err := os.ReadDir("/run/netns")
	if err != nil {
		return
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), prefix)
		if !ours {
			continue
		}
		pid, _, _ := strings.Cut(rest, "-")
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, fs.ErrNotExist) {
			kill(e.Name())
			exec.Command("ip", "netns", "del", e.Name()).Run()
		}
	}
}

// Start prints the drawing; a test calls it once its network stands.
func (l *Lab) Start() {
	l.t.Helper()
	l.t.Log("\n" + l.Drawing())
}

func (l *Lab) close() {
	for _, k := range l.links {
		k.close()
	}
	for _, h := range l.hosts {
		h.stop()
	}
	for _, h := range l.hosts {
		kill(h.ns) // what the programs of the test started in their turn
		if out, err := exec.Command("ip", "netns", "del", h.ns).CombinedOutput(); err != nil {
			l.t.Errorf("netlab: delete %s: %v: %s", h.ns, err, out)
		}
	}
}

// run runs a program in the host's own namespace: only to make ours.
func (l *Lab) run(args ...string) {
	l.t.Helper()
	if err := run(args...); err != nil {
		l.t.Fatal(err)
	}
}

func run(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("netlab: %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
