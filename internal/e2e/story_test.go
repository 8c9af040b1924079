//go:build linux

package e2e

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/internal/netlab"
)

// TestStory plays the plan over every transport: wake, ssh, 64 MiB each way by
// scp, close, and nothing is left on any host.
func TestStory(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lines  []string
		refuse string // what the shop's router lets nobody send
	}{
		{"mqtt", nil, ""},
		{"websocket on 443", []string{"mqtts", "wss"}, "iifname net1 tcp dport != 443"},
		{"https with mqtt blocked", nil, "ip daddr " + addrBroker},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && tt.refuse != "" {
				t.Skip("short")
			}
			w := newStory(t, tt.lines, tt.refuse)
			if tt.lines == nil && tt.refuse == "" {
				w.preflight()
			}
			w.session(1 << 20) // a warm-up: what a first session caches is no residue
			w.settle()
			before := w.snapshot()
			w.session(64 << 20)
			w.over()
			w.asBefore(before)
			for _, p := range []*process{w.agent, w.gateway, w.control} {
				p.stop()
			}
		})
	}
}

func newStory(t *testing.T, lines []string, refuse string) *world {
	w := prepare(t, options{lines: lines})
	if refuse != "" {
		w.shop.Refuse(refuse)
	}
	w.startAgent(options{lines: lines, mode: "driverless"})
	w.waitOnline()
	return w
}

// session logs in by ssh and copies size bytes there and back.
func (w *world) session(size int64) {
	t := w.t
	t.Helper()
	if got := w.ssh("echo", "from", "$(hostname)"); !strings.Contains(got, "from ") {
		t.Fatalf("ssh printed %q", got)
	}
	up, there, back := filepath.Join(w.dir, "up"), filepath.Join(w.sftpRoot, "up"), filepath.Join(w.dir, "back")
	sum := w.random(up, size)
	w.operator.Run("scp", w.sshArgs("-q", up, "root@"+kiosk+":"+there)...)
	if got := w.sum(there); got != sum {
		t.Errorf("scp to the kiosk: SHA-256 %x, want %x", got, sum)
	}
	w.operator.Run("scp", w.sshArgs("-q", "root@"+kiosk+":"+there, back)...)
	if got := w.sum(back); got != sum {
		t.Errorf("scp from the kiosk: SHA-256 %x, want %x", got, sum)
	}
}

func (w *world) random(path string, size int64) [32]byte {
	w.t.Helper()
	f, err := os.Create(path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, h), rand.Reader, size); err != nil {
		w.t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

func (w *world) sum(path string) [32]byte {
	w.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		w.t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

// state is what every host and process of the world holds.
type state struct {
	hosts      map[string]netlab.Snapshot
	goroutines map[string]string // a process's profile
}

func (w *world) snapshot() state {
	w.t.Helper()
	s := state{make(map[string]netlab.Snapshot), make(map[string]string)}
	for _, h := range []struct {
		host *netlab.Host
		p    *process
	}{{w.kiosk, w.agent}, {w.nodeHost, w.gateway}, {w.controlHost, w.control}, {w.broker, w.mosquitto}, {w.operator, nil}, {w.shop, nil}} {
		pids := make(map[string]int)
		if h.p != nil {
			pids[h.p.name] = h.p.pid()
		}
		snapshot := h.host.Snapshot(pids)
		// It has as many connections to its database as it wanted at a time.
		snapshot["files of boothwire-control"] = slices.DeleteFunc(snapshot["files of boothwire-control"], func(file string) bool { return strings.Contains(file, "control.db") })
		s.hosts[h.host.Name] = snapshot
		if h.p != nil && h.p != w.mosquitto {
			s.goroutines[h.p.name] = w.goroutines(h.host)
		}
	}
	return s
}

// goroutines is a process's goroutine profile; its first line counts them.
func (w *world) goroutines(h *netlab.Host) string {
	w.t.Helper()
	var c net.Conn
	err := h.Do(func() (err error) { c, err = net.Dial("tcp", "127.0.0.1:6060"); return })
	if err != nil {
		w.t.Fatalf("%s: %v", h.Name, err)
	}
	defer c.Close()
	// Closed after the answer, so that it is not among what is compared.
	fmt.Fprint(c, "GET /debug/pprof/goroutine?debug=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		w.t.Fatalf("%s: %v", h.Name, err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Fatalf("%s: %v", h.Name, err)
	}
	return string(b)
}

// asBefore waits until nothing of a session is left anywhere.
func (w *world) asBefore(before state) {
	w.t.Helper()
	eventually(w.t, "all is as before the session", func() error {
		var left []string
		after := w.snapshot()
		for name, b := range before.hosts {
			for _, l := range b.Left(after.hosts[name]) {
				left = append(left, name+": "+l)
			}
		}
		for name, b := range before.goroutines {
			a := after.goroutines[name]
			if more(b, a) {
				left = append(left, fmt.Sprintf("%s: goroutines:\n%s\n--- before:\n%s", name, brief(a), brief(b)))
			}
		}
		if len(left) > 0 {
			return errors.New(strings.Join(left, "\n\t"))
		}
		return nil
	})
}

// hostAsBefore is asBefore for a host on which nothing of ours runs any more.
func (w *world) hostAsBefore(h *netlab.Host, before netlab.Snapshot) {
	w.t.Helper()
	eventually(w.t, h.Name+" is as before", func() error {
		if left := before.Left(h.Snapshot(nil)); len(left) > 0 {
			return errors.New(strings.Join(left, "\n\t"))
		}
		return nil
	})
}

// more reports whether a profile has goroutines that the one before has not. As many as
// before are none: one may just be elsewhere in what it always does.
func more(before, after string) bool {
	b, _, _ := strings.Cut(before, "\n")
	a, _, _ := strings.Cut(after, "\n")
	if a == b {
		return false
	}
	had := stacks(before)
	for stack, n := range stacks(after) {
		if n > had[stack] {
			return true
		}
	}
	return false
}

// stacks counts the goroutines of a profile by where they are.
func stacks(profile string) map[string]int {
	count := make(map[string]int)
	for group := range strings.SplitSeq(brief(profile), "\n\n") {
		n, stack, _ := strings.Cut(group, " ")
		k, _ := strconv.Atoi(n)
		count[stack] += k
	}
	return count
}

// brief is a goroutine profile without its addresses.
func brief(profile string) string {
	var b strings.Builder
	for l := range strings.Lines(profile) {
		f := strings.Fields(l)
		switch {
		case len(f) > 1 && f[1] == "@":
			fmt.Fprintf(&b, "\n%s goroutines\n", f[0])
		case len(f) > 2 && f[0] == "#":
			fmt.Fprintf(&b, "\t%s\n", f[2])
		}
	}
	return strings.TrimSpace(b.String()) // an empty line between two stacks
}

func TestMore(t *testing.T) {
	profile := func(a, b int) string {
		return fmt.Sprintf("goroutine profile: total %d\n%d @ 0x1 0x2\n#\t0x1\tmain.a+0x1\t/a.go:1\n\n%d @ 0x3\n#\t0x3\tmain.b+0x2\t/b.go:2\n", a+b, a, b)
	}
	before := profile(1, 2)
	for _, tt := range []struct {
		what  string
		after string
		want  bool
	}{
		{"as before", before, false},
		{"one is elsewhere", profile(2, 1), false},
		{"one is gone", profile(1, 1), false},
		{"one is left", profile(1, 3), true},
		{"one is left and two are gone", profile(2, 0), true},
	} {
		if got := more(before, tt.after); got != tt.want {
			t.Errorf("%s: %v", tt.what, got)
		}
	}
}
