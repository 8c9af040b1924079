//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
)

const addrRelay2 = "203.0.113.61"

// A continuityWorld is a kiosk and an engineer who are each behind a home's NAT, with
// two relays on the internet.
type continuityWorld struct {
	*world
	shopSite, homeSite *netlab.Site
	relay2Host         *netlab.Host
	relay2             *process
}

func newContinuityWorld(t testing.TB) *continuityWorld {
	c := new(continuityWorld)
	o := options{relay: true, network: c.lay, lines: []string{"mqtts"}}
	w := prepare(t, o)
	c.relay2 = w.addRelay("relay-2", c.relay2Host, addrRelay2)
	w.startAgent(o)
	w.waitOnline()
	return c
}

func (c *continuityWorld) lay(w *world) {
	c.world = w
	l := w.lab
	internet := l.Switch("internet")
	for _, h := range []struct {
		host **netlab.Host
		name string
		addr string
	}{
		{&w.controlHost, "control", addrControl}, {&w.broker, "broker", addrBroker}, {&w.nodeHost, "node", addrNode},
		{&w.relayHost, "relay", addrRelay}, {&c.relay2Host, "relay2", addrRelay2},
	} {
		*h.host = l.Host(h.name)
		l.Link(*h.host, h.addr+"/24", internet, "")
	}
	c.shopSite = l.Site("kiosk", netlab.PortRestricted, internet, 1, netlab.SiteConfig{})
	c.homeSite = l.Site("operator", netlab.PortRestricted, internet, 2, netlab.SiteConfig{})
	w.kiosk, w.shop, w.operator = c.shopSite.Host, c.shopSite.Router, c.homeSite.Host
	l.Start()
}

// onPath waits until control shows a path, and returns why it is that.
func (w *world) onPath(want string) (why string) {
	w.t.Helper()
	eventually(w.t, "the session's path is "+want, func() error {
		path, text, err := w.path()
		if why = text; err == nil && path != want {
			err = fmt.Errorf("%s: %s", path, text)
		}
		return err
	})
	return why
}

// A call is one ssh connection that is held open while things happen to the network:
// a line each countEvery goes to the kiosk and back, and files are copied within it.
type call struct {
	w       *world
	cmd     *exec.Cmd
	gone    chan error
	control string // ssh's socket, by which scp shares the connection
	stop    chan struct{}
	work    sync.WaitGroup
	files   int

	mu   sync.Mutex
	sent int
	back int // every number up to it came back, once
	bad  string
	last time.Time
	gap  time.Duration // the longest between two answers
}

const countEvery = 20 * time.Millisecond

// call connects, with further arguments of boothctl proxy.
func (w *world) call(args ...string) *call {
	w.t.Helper()
	c := &call{w: w, control: filepath.Join(w.dir, "ssh.sock"), stop: make(chan struct{}), gone: make(chan error, 1)}
	proxy := strings.Join(w.ctlArgs(append(append([]string{"proxy"}, args...), "%h", "%p")...), " ")
	line := append(w.sshArgs(), "-o", "ControlMaster=yes", "-o", "ControlPath="+c.control, "-o", "ServerAliveInterval=0",
		"root@"+kiosk, "while read l; do echo $l; done")
	line[3] = "ProxyCommand=" + proxy
	c.cmd = w.operator.Command(w.t.Context(), "ssh", line...)
	stderr := new(logBuffer)
	c.cmd.Stderr = stderr
	in, out := must(c.cmd.StdinPipe()), must(c.cmd.StdoutPipe())
	if err := c.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	c.last = time.Now()
	c.work.Go(func() { c.read(out); c.gone <- c.cmd.Wait() })
	c.work.Go(func() { c.count(in) })
	w.t.Cleanup(func() {
		c.cmd.Process.Kill()
		select {
		case <-c.stop:
		default:
			close(c.stop)
		}
		c.work.Wait()
		if w.t.Failed() {
			w.t.Logf("ssh says: %s", stderr.tail(4000))
		}
	})
	c.hear()
	return c
}

func (c *call) count(in io.WriteCloser) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	defer in.Close()
	for {
		select {
		case <-tick.C:
		case <-c.stop:
			return
		}
		c.mu.Lock()
		c.sent++
		n := c.sent
		c.mu.Unlock()
		if _, err := fmt.Fprintf(in, "%d\n", n); err != nil {
			return
		}
	}
}

func (c *call) read(out io.Reader) {
	for s := bufio.NewScanner(out); s.Scan(); {
		n, _ := strconv.Atoi(s.Text())
		c.mu.Lock()
		if n != c.back+1 && c.bad == "" {
			c.bad = fmt.Sprintf("%q came after %d", s.Text(), c.back)
		}
		c.back = n
		now := time.Now()
		c.gap, c.last = max(c.gap, now.Sub(c.last)), now
		c.mu.Unlock()
	}
}

// hear waits until what is sent now is back.
func (c *call) hear() {
	c.w.t.Helper()
	c.mu.Lock()
	want := c.sent + 1
	c.mu.Unlock()
	eventually(c.w.t, "the kiosk answers", func() error {
		select {
		case err := <-c.gone:
			c.gone <- err
			c.w.t.Fatalf("the ssh connection broke: %v", err)
		default:
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.bad != "" {
			c.w.t.Fatal(c.bad)
		}
		if c.back < want {
			return fmt.Errorf("%d of %d lines are back", c.back, c.sent)
		}
		return nil
	})
}

// reset returns the longest time without an answer since the reset before.
func (c *call) reset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	gap := max(c.gap, time.Since(c.last))
	c.gap = 0
	return gap
}

const (
	copySize = 3 << 20
	copyRate = 12000 // kbit/s: a copy takes two seconds, and the longest disturbance more
)

// through copies a file to the kiosk while f disturbs the network, and demands that
// neither the copy nor the counting notices more than a pause.
func (c *call) through(name string, f func() (why string)) {
	t := c.w.t
	t.Helper()
	c.files++
	from := filepath.Join(c.w.dir, fmt.Sprint("copy", c.files))
	to := filepath.Join(c.w.sftpRoot, fmt.Sprint("copy", c.files))
	sum := c.w.random(from, copySize)
	size := func() int64 {
		if i, err := os.Stat(to); err == nil {
			return i.Size()
		}
		return 0
	}
	cmd, stderr, done := c.copy(from, to, size)
	for ; size() >= copySize; cmd, stderr, done = c.copy(from, to, size) { // a slow machine saw but its end
		cmd.Process.Signal(syscall.SIGCONT)
		<-done
		os.Remove(to)
	}
	before := c.reset()
	began := time.Now()
	cmd.Process.Signal(syscall.SIGCONT)
	why := f()
	c.hear()
	took := time.Since(began)
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("%s: scp: %v: %s", name, err, stderr.String())
		}
	case <-time.After(patience):
		t.Fatalf("%s: scp has copied %d of %d bytes", name, size(), copySize)
	}
	if got := c.w.sum(to); got != sum {
		t.Errorf("%s: SHA-256 %x, want %x", name, got, sum)
	}
	c.hear()
	os.Remove(from)
	os.Remove(to)
	t.Logf("%s: no answer for %v (%v before), over after %v; %s", name, c.reset().Round(time.Millisecond), before.Round(time.Millisecond), took.Round(time.Millisecond), why)
}

// copy has scp copy a file to the kiosk, and stops it once it has begun.
func (c *call) copy(from, to string, size func() int64) (cmd *exec.Cmd, stderr *logBuffer, done chan error) {
	t := c.w.t
	t.Helper()
	// A connection of its own would fail: only the one that stands can carry it.
	cmd = c.w.operator.Command(t.Context(), "scp", "-q", "-l", fmt.Sprint(copyRate), "-o", "ControlPath="+c.control,
		"-o", "ControlMaster=no", "-o", "ProxyCommand=false", from, "root@"+kiosk+":"+to)
	stderr = new(logBuffer)
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done = make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	eventually(t, "scp has begun", func() error {
		if size() == 0 {
			return fmt.Errorf("nothing is there: %s", stderr.String())
		}
		return nil
	})
	cmd.Process.Signal(syscall.SIGSTOP) // or it may be over before the network is disturbed
	c.hear()
	return cmd, stderr, done
}

// hangUp ends the connection as its user does, and waits for the session's end.
func (c *call) hangUp() {
	c.w.t.Helper()
	c.hear()
	close(c.stop)
	select {
	case err := <-c.gone:
		c.gone <- err
		if err != nil {
			c.w.t.Errorf("ssh: %v", err)
		}
	case <-time.After(patience):
		c.w.t.Error("ssh does not end")
	}
	c.mu.Lock()
	if c.bad != "" || c.back != c.sent {
		c.w.t.Errorf("%d lines were sent, %d came back; %s", c.sent, c.back, c.bad)
	}
	c.mu.Unlock()
	eventually(c.w.t, "the session is over", func() error {
		if d := c.w.device(); d.Session != "" || d.State != "disconnected" {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
}
