package kernel

import (
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/boothwire/boothwire/internal/kernelvm"
)

// full is how many sessions the plane of BenchmarkGuestTable has.
const full = 10_000

// BenchmarkTable measures what a session costs a node that has ten thousand, in
// units of what an X25519 costs on the same machine.
func BenchmarkTable(b *testing.B) {
	for range b.N {
		kernelvm.Run(b, kernelvm.Config{Bench: "^BenchmarkGuestTable$", Modules: modules, Memory: 3072, Timeout: 25 * time.Minute})
	}
}

func BenchmarkGuestTable(b *testing.B) {
	if !kernelvm.Inside() {
		b.Skip("runs in the guest of BenchmarkTable")
	}
	for range b.N {
		table(b)
	}
}

func table(b *testing.B) {
	unit := x25519()
	node := newKey()
	cfg := Config{PrivateKey: node.private, Listen: 51820, Pool: netip.MustParsePrefix("10.166.0.0/16"), Proof: netip.MustParseAddr("10.166.255.1")}
	p, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	state := nodeState{}
	var dev, op keyPair
	before := memory()
	began := time.Now()
	for n := range full {
		s, d, o := described(n + 1)
		if n == 0 {
			dev, op = d, o
		}
		state.Sessions = append(state.Sessions, s)
		if err := p.Set(s); err != nil {
			b.Fatal(err)
		}
		if n%1000 == 999 {
			fmt.Printf("%d sessions after %v\n", n+1, time.Since(began).Round(time.Second))
		}
	}
	figure("kernel-fill", time.Since(began).Seconds()/full/unit.Seconds(), "x-x25519-a-session", "info", 0)
	figure("kernel-kib-per-session", float64(before-memory())/full, "KiB", "info", 0)

	one := state.Sessions[0]
	device := newEnd(b, dev, node.public, 51820, one.Device.Addresses[0])
	device.echoes(b, 22)
	operator := newEnd(b, op, node.public, 51821, one.Operators[0].Address)
	c := operator.dial(b, one.Device.Addresses[0], 22)
	works(b, "at first", c, 10_000)

	for name, list := range further(b, p) {
		figure("kernel-"+name+"-p99-storm", quantile(list, 0.99).Seconds()/unit.Seconds(), "x-x25519", "info", 0)
	}
	time.Sleep(2 * time.Minute) // until nobody is awaited any more but now and then
	figure("kernel-idle-cpu", busy(time.Minute), "percent-of-a-core", "at-most", 1)
	for name, list := range further(b, p) {
		figure("kernel-"+name+"-p99", quantile(list, 0.99).Seconds()/unit.Seconds(), "x-x25519", "at-most", 80)
		figure("kernel-"+name+"-p50", quantile(list, 0.5).Seconds()/unit.Seconds(), "x-x25519", "info", 0)
		figure("kernel-"+name+"-p99-ms", quantile(list, 0.99).Seconds()*1000, "ms-emulated", "info", 0)
	}
	works(b, "with ten thousand", c, 10_000)

	reconcile(b, p, cfg, state, unit)
	works(b, "after a restart", c, 10_000)
	p = again
	t := time.Now()
	p.Remove(one.ID)
	c.SetDeadline(time.Now().Add(time.Second))
	c.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		b.Error("a session that was closed goes on")
	}
	_ = t
	t = time.Now()
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
	figure("kernel-shutdown", time.Since(t).Seconds(), "s", "at-most", 30)
}

// further opens sessions beyond those that are open, and closes each.
func further(b *testing.B, p *Plane) map[string][]time.Duration {
	b.Helper()
	var opened, shut []time.Duration
	for n := range 300 {
		s, _, _ := described(full + 1 + n)
		t := time.Now()
		if err := p.Set(s); err != nil {
			b.Fatal(err)
		}
		opened = append(opened, time.Since(t))
		t = time.Now()
		p.Remove(s.ID)
		shut = append(shut, time.Since(t))
	}
	return map[string][]time.Duration{"open": opened, "close": shut}
}

// again is the plane of the process that came after.
var again *Plane

// reconcile has the next process find ten thousand sessions, and counts those that
// it disturbed: whose peer or whose counters are not what they were.
func reconcile(b *testing.B, p *Plane, cfg Config, state nodeState, unit time.Duration) {
	b.Helper()
	if err := p.Leave(); err != nil { // as a killed process leaves it
		b.Fatal(err)
	}
	before, err := p.wg.Device("wgd0")
	if err == nil {
		b.Fatal("a closed client still answers")
	}
	began := time.Now()
	q, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	before, err = q.wg.Device("wgd0")
	if err != nil {
		b.Fatal(err)
	}
	began = time.Now()
	for _, s := range state.Sessions {
		if err := q.Set(s); err != nil {
			b.Fatal(err)
		}
	}
	if err := q.Settle(); err != nil {
		b.Fatal(err)
	}
	figure("kernel-reconcile", time.Since(began).Seconds()/full/unit.Seconds(), "x-x25519-a-session", "at-most", 2.2)
	after, err := q.wg.Device("wgd0")
	if err != nil {
		b.Fatal(err)
	}
	disturbed := full
	shook := make(map[wgtypes.Key]wgtypes.Peer)
	for _, peer := range before.Peers {
		shook[peer.PublicKey] = peer
	}
	for _, peer := range after.Peers {
		was, ok := shook[peer.PublicKey]
		if ok && was.LastHandshakeTime.Equal(peer.LastHandshakeTime) && peer.ReceiveBytes >= was.ReceiveBytes && len(peer.AllowedIPs) == 1 {
			disturbed--
		}
	}
	figure("kernel-reconcile-disturbed", float64(disturbed), "sessions", "at-most", 0)
	again = q
}

// x25519 is what one costs here.
func x25519() time.Duration {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	public := private.PublicKey()
	var list []time.Duration
	for range 200 {
		t := time.Now()
		if _, err := private.ECDH(public); err != nil {
			panic(err)
		}
		list = append(list, time.Since(t))
	}
	figure("kernel-x25519", quantile(list, 0.5).Seconds()*1000, "ms-emulated", "info", 0)
	return quantile(list, 0.5)
}

// memory is what is available, in KiB.
func memory() int {
	runtime.GC()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "MemAvailable:" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

// busy is how much of a core this process takes for a while, in percent.
func busy(window time.Duration) float64 {
	use := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			panic(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	from := use()
	time.Sleep(window)
	return float64(use()-from) / float64(window) * 100
}
