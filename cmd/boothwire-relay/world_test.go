//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/testca"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
)

// patience is many times what anything here should take.
const patience = 3 * time.Minute

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	folder = must(os.MkdirTemp("", "boothwire-relay-")) // of the whole run

	// program builds this one, once. It is without the race detector, whatever the
	// tests have: their figures are those of what ships.
	program = sync.OnceValues(func() (string, error) {
		exe := filepath.Join(folder, "boothwire-relay")
		if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w\n%s", err, out)
		}
		return exe, nil
	})
)

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// A fleet is this program as a process of its own, and sessions whose ends are here.
type fleet struct {
	t       *testing.T
	signer  *keys.Signer
	ca      *testca.CA
	key     keys.PublicKey // the relay's
	exe     string
	file    string // its configuration
	addr    string
	metrics string

	cmd  *exec.Cmd
	gone chan error
	log  bytes.Buffer
	ends [][2]*relay.Conn
}

// newFleet has a relay with further lines of configuration, which stands nowhere yet.
func newFleet(t *testing.T, lines string) *fleet {
	t.Helper()
	dir := t.TempDir()
	exe, err := program()
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, ca: testca.New(t, dir), exe: exe, file: filepath.Join(dir, "relay.toml"), addr: freeAddr(), metrics: freeAddr()}
	store := keys.NewMemory()
	root, online := must(keys.OpenIdentity(store, "root")), must(keys.OpenIdentity(store, "online"))
	record := must(keys.SignRecord(root, keys.Record{ID: "control-1", Key: online.Key(), Epoch: 1, Scope: []string{keys.TypeRelay}}))
	f.signer = must(keys.NewSigner(online, record))
	cert, key := f.ca.Server("relay", []string{"127.0.0.1"})
	config := fmt.Sprintf("name = \"r-1\"\nstate = %q\nlisten = %q\nroots = [%q]\nmetrics = %q\nlog = \"error\"\n%s\n[tls]\ncert = %q\nkey = %q\n",
		filepath.Join(dir, "state"), f.addr, root.Key(), f.metrics, lines, cert, key)
	if err := os.WriteFile(f.file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command(f.exe, "-config", f.file, "key").Output()
	if err != nil {
		t.Fatal(err)
	}
	f.key = must(keys.ParsePublicKey(strings.TrimSpace(string(text))))
	t.Cleanup(func() {
		var work sync.WaitGroup
		for _, s := range f.ends {
			for _, c := range s {
				if c != nil {
					work.Go(func() { c.Close() })
				}
			}
		}
		work.Wait()
		f.kill()
		if t.Failed() {
			t.Logf("the relay's log:\n%.4096s", f.log.String())
		}
	})
	return f
}

func freeAddr() string {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	return ln.Addr().String()
}

// start starts the relay and returns when it listens; again, when its port is some
// connection's for a moment.
func (f *fleet) start() {
	f.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		said := f.log.Len()
		f.run()
		for f.sessions() < 0 && len(f.gone) == 0 && time.Now().Before(end) {
			time.Sleep(20 * time.Millisecond)
		}
		if len(f.gone) == 0 && f.sessions() >= 0 {
			return
		}
		f.kill()
		if text := f.log.String()[said:]; time.Now().After(end) || !strings.Contains(text, "address already in use") {
			f.t.Fatal("the relay does not start")
		}
	}
}

func (f *fleet) run() {
	f.t.Helper()
	f.cmd = exec.Command(f.exe, "-config", f.file)
	f.cmd.Stdout, f.cmd.Stderr = &f.log, &f.log
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := f.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.gone = make(chan error, 1)
	go func(cmd *exec.Cmd, gone chan error) { gone <- cmd.Wait() }(f.cmd, f.gone)
}

// kill is kill -9.
func (f *fleet) kill() {
	if f.cmd == nil {
		return
	}
	f.cmd.Process.Kill()
	<-f.gone
	f.cmd = nil
}

func (f *fleet) wait(what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if ok() {
			return
		}
		select {
		case err := <-f.gone:
			f.gone <- err
			f.t.Fatalf("the relay ended (%v) before: %s", err, what)
		default:
		}
	}
	f.t.Fatalf("not in %v: %s; %d sessions; %s", patience, what, f.sessions(), f.scrape())
}

func (f *fleet) scrape() string {
	resp, err := http.Get("http://" + f.metrics + "/metrics")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return string(text)
}

var (
	gaugeLine   = regexp.MustCompile(`(?m)^boothwire_relay_(\w+) (\d+)$`)
	refusedLine = regexp.MustCompile(`(?m)^boothwire_relay_refused_total\{code="(\w+)"\} (\d+)$`)
)

// metric is one of the relay's without labels; -1: it says nothing.
func (f *fleet) metric(name string) int {
	for _, m := range gaugeLine.FindAllStringSubmatch(f.scrape(), -1) {
		if m[1] == name {
			n, _ := strconv.Atoi(m[2])
			return n
		}
	}
	return -1
}

// sessions is how many have both ends there.
func (f *fleet) sessions() int { return f.metric("sessions") }

// A session is two keys, and what control gives their holders.
type session struct {
	keys  [2]keys.PrivateKey
	lists [2][]keys.Relay
}

func (f *fleet) session(end time.Time) *session {
	s := &session{keys: [2]keys.PrivateKey{keys.NewPrivateKey(), keys.NewPrivateKey()}}
	token := keys.Token{Session: keys.NewID(), Rev: 1, Ends: [2]keys.PublicKey{s.keys[0].Public(), s.keys[1].Public()}, Relays: []string{"r-1"}, End: end}
	for leg := range 2 {
		token.Leg = leg
		s.lists[leg] = []keys.Relay{{URL: "https://" + f.addr + "/relay", Key: f.key, Token: string(must(token.Sign(f.signer)))}}
	}
	return s
}

// dial makes a leg, sooner or later.
func (f *fleet) dial(s *session, leg int) (c *relay.Conn, err error) {
	cfg := &relay.Config{TLS: &tls.Config{RootCAs: f.ca.Pool()}, Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if c, err = relay.Dial(context.Background(), s.lists[leg], s.keys[leg], cfg); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// open makes n more sessions until end, and fails unless all are made.
func (f *fleet) open(n int, end time.Time) {
	f.t.Helper()
	from := len(f.ends)
	f.ends = append(f.ends, make([][2]*relay.Conn, n)...)
	next := make(chan int)
	var work sync.WaitGroup
	for range 32 {
		work.Go(func() {
			for i := range next {
				s := f.session(end)
				for leg := range 2 {
					c, err := f.dial(s, leg)
					if err != nil {
						f.t.Errorf("session %d: %v", i, err)
						continue
					}
					f.ends[i][leg] = c
				}
			}
		})
	}
	for i := from; i < len(f.ends); i++ {
		next <- i
	}
	close(next)
	work.Wait()
	if f.t.Failed() { // an end is missing
		f.t.FailNow()
	}
}

// refused is how many connections the relay turned away, of those that are granted.
func (f *fleet) refused() (n int) {
	for _, m := range refusedLine.FindAllStringSubmatch(f.scrape(), -1) {
		if m[1] != keys.ReasonExpired {
			more, _ := strconv.Atoi(m[2])
			n += more
		}
	}
	return n
}

// ours is the CPU that this process used so far, whose clients share the relay's
// processors.
func ours() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Round(10 * time.Millisecond)
}

// cpu is what the relay used so far, and rss what it holds.
func (f *fleet) cpu() time.Duration {
	text := must(os.ReadFile(fmt.Sprintf("/proc/%d/stat", f.cmd.Process.Pid)))
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')'):]))
	const perTick = time.Second / 100
	return time.Duration(must(strconv.Atoi(fields[12]))+must(strconv.Atoi(fields[13]))) * perTick
}

func (f *fleet) rss() int {
	text := must(os.ReadFile(fmt.Sprintf("/proc/%d/status", f.cmd.Process.Pid)))
	_, after, _ := strings.Cut(string(text), "VmRSS:")
	return must(strconv.Atoi(strings.Fields(after)[0])) << 10
}

// back waits until n sessions are paired at the relay that stands now and returns when
// the half of them, nine of ten and all were.
func (f *fleet) back(n int) (half, most, all time.Duration) {
	f.t.Helper()
	began := time.Now()
	f.wait("all are back", func() bool {
		now := f.sessions()
		for at, share := range map[*time.Duration]int{&half: n / 2, &most: n * 9 / 10, &all: n} {
			if *at == 0 && now >= share {
				*at = time.Since(began)
			}
		}
		return all > 0
	})
	return half.Round(10 * time.Millisecond), most.Round(10 * time.Millisecond), all.Round(10 * time.Millisecond)
}
