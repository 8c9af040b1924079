package https

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/signaling"
	"go.uber.org/zap"
)

// The test binary runs itself as the process that polls, so that the server's memory is
// measured alone: os.Args[1] is pollerArg, then address, certificate, count and poll.
const pollerArg = "poll-as-devices"

func pollerMain() {
	if len(os.Args) != 6 || os.Args[1] != pollerArg {
		return
	}
	if err := pollAsDevices(os.Args[2], os.Args[3], os.Args[4], os.Args[5]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func deviceName(i int) string { return "kiosk-" + strconv.Itoa(i) }

// pollAsDevices is count listeners from 20 source addresses, until standard input ends. It
// prints a line for each command.
func pollAsDevices(addr, certificate, count, poll string) error {
	der, err := base64.StdEncoding.DecodeString(certificate)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(poll)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	out := &lines{w: bufio.NewWriter(os.Stdout)}
	// Sixteen at once come up, as behind a paced restart.
	gate := make(chan struct{}, 16)
	var all sync.WaitGroup
	for i := range n {
		transport := newTransport("127.0.0.1", &Config{TLS: &tls.Config{RootCAs: pool}, Logger: zap.NewNop()})
		transport.DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%20))}}).DialContext
		device := deviceName(i)
		l, err := newListener(device, deviceKey(device), "https://"+addr, &Config{
			Client: &http.Client{Transport: transport},
			Poll:   d,
			Spread: time.Second,
		})
		if err != nil {
			return err
		}
		gate <- struct{}{}
		var once sync.Once
		all.Go(func() { l.Listen(ctx, printer{out, device, func() { once.Do(func() { <-gate }) }}) })
	}
	all.Wait()
	return nil
}

type lines struct {
	mu sync.Mutex
	w  *bufio.Writer
}

type printer struct {
	out    *lines
	device string
	up     func()
}

func (p printer) Connected(up bool) {
	if up {
		p.up()
	}
}

func (p printer) Deliver(m signaling.Message) {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	fmt.Fprintf(p.out.w, "%s %s\n", p.device, m.Payload)
	p.out.w.Flush()
}

// pollers is the second process.
type pollers struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	output io.Reader
}

func startPollers(t testing.TB, r *rig, n int, poll time.Duration) *pollers {
	t.Helper()
	for i := range n {
		if err := r.queue.Register(deviceName(i), publicKey(deviceName(i))); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, pollerArg, r.addr, base64.StdEncoding.EncodeToString(r.cert.Certificate[0]), strconv.Itoa(n), poll.String())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &pollers{cmd, stdin, output}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("pollers: %v", err)
		}
	})
	return p
}

// residentKiB is this process's resident set, or 0 where /proc does not tell.
func residentKiB() int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(v), " kB"))
			return n
		}
	}
	return 0
}

// wakeAll sends one command to each of n parked devices and waits until each got it once.
func wakeAll(t testing.TB, r *rig, p *pollers, n int) {
	t.Helper()
	got := make(map[string]int, n)
	done := make(chan error, 1)
	go func() {
		in := bufio.NewScanner(p.output)
		for len(got) < n && in.Scan() {
			got[in.Text()]++
		}
		done <- in.Err()
	}()
	for i := range n {
		if err := r.sender.Send(t.Context(), deviceName(i), []byte("up-"+strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("commands to parked devices did not arrive")
	}
	for i := range n {
		if line := deviceName(i) + " up-" + strconv.Itoa(i); got[line] != 1 {
			t.Errorf("%q came %d times, want once", line, got[line])
		}
	}
}

func TestParkedElsewhere(t *testing.T) {
	const n = 500
	var statuses atomic.Int64
	r := newRig(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { statuses.Add(1); h.ServeHTTP(w, req) })
	})
	p := startPollers(t, r, n, 50*time.Second)
	eventually(t, "all are parked", func() bool { return r.parked() == n })
	eventually(t, "no goroutine waits for a parked poll", func() bool { return runtime.NumGoroutine() < n/2 })
	wakeAll(t, r, p, n)
	eventually(t, "all are parked again", func() bool { return r.parked() == n })
}

// BenchmarkParked measures what 10,000 parked polls over TLS add to the server process's
// resident set, while they are parked and through two rounds of time-outs. Run it with
// -benchtime 1x.
func BenchmarkParked(b *testing.B) {
	const n, bar = 10_000, 48
	if residentKiB() == 0 {
		b.Skip("needs /proc/self/status")
	}
	const poll = 20 * time.Second
	r := newRig(b, nil)
	before := residentKiB()
	p := startPollers(b, r, n, poll)
	began := time.Now()
	for r.parked() < n {
		if time.Since(began) > 5*time.Minute {
			b.Fatalf("only %d of %d polls parked", r.parked(), n)
		}
		time.Sleep(50 * time.Millisecond)
	}
	up := time.Since(began)
	highest := residentKiB()
	for end := time.Now().Add(2*poll + poll/2); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		highest = max(highest, residentKiB())
	}
	if parked := r.parked(); parked < n*9/10 {
		b.Fatalf("%d of %d polls parked", parked, n)
	}
	each := float64(highest-before) / n
	verdict := "ok"
	if each > bar {
		verdict = "short"
	}
	fmt.Printf("\nbench signaling/https-parked-kib %.1f KiB at-most %d %s\n", each, bar, verdict)
	fmt.Printf("bench signaling/https-parked-up %.1f s info - ok\n", up.Seconds())
	wakeAll(b, r, p, n)
	woken := float64(residentKiB()-before) / n
	fmt.Printf("bench signaling/https-woken-kib %.1f KiB info - ok\n", woken)
	b.ReportMetric(each, "KiB/poll")
}
