//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

const (
	wakeRTT    = 40 * time.Millisecond // between the kiosk and everyone else
	wakeRounds = 50
	wakeSlack  = 50 * time.Millisecond // for what is not the network
	askPause   = 1100 * time.Millisecond
)

// BenchmarkWake measures how long a kiosk takes from control's first publish to
// control's ready, with and without a prekey at hand, over a link of 40 ms. Run it
// without the race detector and with -benchtime 1x.
func BenchmarkWake(b *testing.B) {
	if raceEnabled {
		b.Skip("the race detector's programs are not what is measured")
	}
	k := &wakeBench{b: b, w: newWorld(b, options{relay: true, delay: netlab.Emulation{Delay: wakeRTT / 2}})}
	k.api = k.w.api()
	k.countInitiations()
	for b.Loop() {
		k.pings()
		k.measure("prekey", 3, k.supply)
		k.exhaust()
		k.measure("no-prekey", 5, k.breathe)
	}
}

// A wakeBench is a world whose sessions are timed.
type wakeBench struct {
	b     *testing.B
	w     *world
	api   *client.Client
	asked time.Time // when the latest ask may have gone out
}

// A wake is one session's times.
type wake struct {
	took        time.Duration // from the first publish to ready, on control's clock
	ladder      []client.Step
	initiations int // that reached the node
}

// measure prints the figures of wakes that each begin as prepare leaves things.
func (k *wakeBench) measure(name string, rtts int, prepare func()) {
	var took, initiations []float64
	steps := make(map[string][]float64)
	var order []string
	for n := range wakeRounds {
		prepare()
		v := k.once()
		ready, _ := find(v.ladder, client.ByDevice, signaling.Ready)
		fmt.Printf("\n%s %d: %v, of which the device %v, %d initiations\n", name, n+1, v.took, ready, v.initiations)
		if _, asked := find(v.ladder, client.ByControl, "asked"); asked != (name == "no-prekey") {
			k.b.Fatalf("%s: the session's ladder is %v", name, v.ladder)
		}
		took = append(took, millis(v.took))
		initiations = append(initiations, float64(v.initiations))
		for _, s := range v.ladder {
			step := s.By + "-" + string(s.Stage)
			if steps[step] == nil {
				order = append(order, step)
			}
			steps[step] = append(steps[step], millis(s.After.Duration()))
		}
	}
	full := "wake/" + name
	most := millis(time.Duration(rtts)*wakeRTT + wakeSlack)
	verdict := "ok"
	if median(took) > most {
		verdict = "short"
	}
	fmt.Printf("\nbench %s %.1f ms at-most %.0f %s\n", full, median(took), most, verdict)
	slices.Sort(took)
	info(full+"-least", "%.1f ms", took[0])
	info(full+"-p90", "%.1f ms", took[len(took)*9/10])
	info(full+"-most", "%.1f ms", took[len(took)-1])
	sum := 0.0
	for _, n := range initiations {
		sum += n
	}
	info(full+"-initiations", "%.2f a-session", sum/float64(len(initiations)))
	info(full+"-initiations-most", "%.0f a-session", slices.Max(initiations))
	for _, s := range order {
		info(full+"-"+s, "%.1f ms", median(steps[s]))
	}
}

// once opens a session, waits until control sees it connected, and closes it.
func (k *wakeBench) once() (v wake) {
	ctx, cancel := context.WithTimeout(k.b.Context(), patience)
	defer cancel()
	before := k.initiations()
	s, err := k.api.OpenSession(ctx, kiosk, &client.OpenRequest{Key: keys.NewPrivateKey().Public()})
	k.asked = time.Now()
	if err != nil {
		k.b.Fatal(err)
	}
	for s, err := range k.api.WatchSession(ctx, s.ID) {
		switch {
		case err != nil:
			k.b.Fatal(err)
		case s.State == client.Failed:
			k.b.Fatalf("the session failed: %s %s, %v", s.Code, s.Why, s.Ladder)
		case s.State == client.Connected && v.ladder == nil:
			v.ladder = s.Ladder
			if _, err := k.api.CloseSession(ctx, s.ID); err != nil {
				k.b.Fatal(err)
			}
		}
	}
	v.initiations = k.initiations() - before
	began, ok := find(v.ladder, client.ByControl, "asked")
	if !ok {
		began, ok = find(v.ladder, client.ByControl, "woken")
	}
	ready, connected := find(v.ladder, client.ByControl, signaling.Ready)
	if !ok || !connected {
		k.b.Fatalf("the ladder lacks steps: %v", v.ladder)
	}
	v.took = ready - began
	return v
}

func find(ladder []client.Step, by string, stage signaling.Stage) (time.Duration, bool) {
	for _, s := range ladder {
		if s.By == by && s.Stage == stage {
			return s.After.Duration(), true
		}
	}
	return 0, false
}

// supply waits until control has a prekey: the device sends a new batch when the
// one before is all but used up.
func (k *wakeBench) supply() {
	eventually(k.b, "control has a prekey", func() error {
		if d := k.device(); d.Prekeys == 0 {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
}

// exhaust makes sure that control has no prekey: it spends them on sessions that
// are called off before the device hears of them, because the node does not
// answer. The device, which still has all of its batch, sends the next one only
// when that is half an hour old.
func (k *wakeBench) exhaust() {
	thaw := freeze(k.w.gateway)
	for k.device().Prekeys > 0 {
		ctx, cancel := context.WithTimeout(k.b.Context(), time.Second)
		if _, err := k.api.OpenSession(ctx, kiosk, &client.OpenRequest{Key: keys.NewPrivateKey().Public()}); err == nil {
			k.b.Error("a session opened on a node that does not answer")
		}
		cancel()
	}
	thaw()
	k.w.settle()
}

// breathe keeps asks apart by more than the second in which a device answers one.
func (k *wakeBench) breathe() { time.Sleep(time.Until(k.asked.Add(askPause))) }

func (k *wakeBench) device() client.Device {
	k.b.Helper()
	d, err := k.api.Device(k.b.Context(), kiosk)
	if err != nil {
		k.b.Fatal(err)
	}
	return d
}

// countInitiations has the node's kernel count WireGuard's handshake initiations:
// packets of type 1, which no part of ours can hide.
func (k *wakeBench) countInitiations() {
	k.w.nodeHost.NFT(`
table inet bench {
	counter initiations { }
	chain input {
		type filter hook input priority -200; policy accept;
		udp dport 51820 @th,64,32 0x01000000 counter name initiations
	}
}`)
}

var packets = regexp.MustCompile(`packets (\d+)`)

func (k *wakeBench) initiations() int {
	k.b.Helper()
	m := packets.FindStringSubmatch(k.w.nodeHost.Run("nft", "list", "counter", "inet", "bench", "initiations"))
	if m == nil {
		k.b.Fatal("nft lists no counter")
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

var average = regexp.MustCompile(`= [\d.]+/([\d.]+)/`)

// pings prints what the link's delay really is.
func (k *wakeBench) pings() {
	for _, to := range []struct{ name, addr string }{{"broker", addrBroker}, {"control", addrControl}, {"node", addrNode}} {
		out := k.w.kiosk.Run("ping", "-n", "-q", "-c", "20", "-i", "0.05", to.addr)
		m := average.FindStringSubmatch(out)
		if m == nil {
			k.b.Fatalf("ping: %s", out)
		}
		ms, _ := strconv.ParseFloat(m[1], 64)
		info("wake/rtt-"+to.name, "%.1f ms", ms)
	}
}

// api calls control from the engineer's host.
func (w *world) api() *client.Client {
	w.t.Helper()
	pem, err := os.ReadFile(w.ca.File)
	if err != nil {
		w.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(_ context.Context, network, addr string) (c net.Conn, err error) {
			return c, errors.Join(err, w.operator.Do(func() error { c, err = net.Dial(network, addr); return err }))
		},
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return client.New("https://"+w.front, &client.Config{Token: w.token, HTTP: &http.Client{Transport: transport}})
}

// BenchmarkAgent measures what a kiosk has to spare for the agent while nobody
// wants anything of it. Run it with -benchtime 1x.
func BenchmarkAgent(b *testing.B) {
	const rest = 10 * time.Second // after the connection, for the runtime to settle
	if raceEnabled {
		b.Skip("the race detector's programs are not what is measured")
	}
	agent, agentSize := lean(b, "./cmd/boothwire-agent")
	_, coreSize := lean(b, "./internal/structure/testdata/core")
	w := newWorld(b, options{})
	w.agent.stop()
	text, err := os.ReadFile(w.agentConfig)
	if err != nil {
		b.Fatal(err)
	}
	config := w.agentConfig + ".lean"
	w.write(config, strings.Replace(string(text), `debug = "127.0.0.1:6060"`, "", 1))
	for b.Loop() {
		boot := w.device().Boot
		p := start(b, w.kiosk, agent, "-config", config)
		eventually(b, "the agent is online", func() error {
			if d := w.device(); d.Boot == boot || d.Online != client.Online {
				return fmt.Errorf("%+v", d)
			}
			return nil
		})
		time.Sleep(rest)
		info("agent/idle-rss", "%.1f MiB", resident(b, p.pid()))
		info("agent/binary-size", "%.1f MiB", agentSize)
		info("agent/core-size", "%.1f MiB", coreSize)
		p.stop()
	}
}

// lean builds a program as one ships it, and returns its size in MiB.
func lean(b *testing.B, path string) (bin string, size float64) {
	b.Helper()
	bin = filepath.Join(b.TempDir(), filepath.Base(path))
	cmd := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, path)
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build %s: %v\n%s", path, err, out)
	}
	i, err := os.Stat(bin)
	if err != nil {
		b.Fatal(err)
	}
	return bin, float64(i.Size()) / (1 << 20)
}

var vmRSS = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// resident is a process's resident set in MiB.
func resident(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	m := vmRSS.FindSubmatch(text)
	if m == nil {
		b.Fatalf("process %d has no VmRSS", pid)
	}
	kib, _ := strconv.ParseFloat(string(m[1]), 64)
	return kib / 1024
}

// info prints a figure that has no bar.
func info(name, format string, value float64) {
	fmt.Printf("\nbench %s "+format+" info - ok\n", name, value)
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
