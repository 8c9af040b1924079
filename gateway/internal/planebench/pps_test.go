//go:build linux

package planebench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/boothwire/boothwire/internal/netlab"
	"github.com/boothwire/boothwire/internal/packet"
)

// inFlight is how many packets may be on their way: without a bound the sender would
// take the node's CPU time for packets that are lost. A TUN's queue has 500.
const inFlight = 384

// pair is an operator and a device in one process, which have packets of one size go
// from the one to the other as fast as they arrive.
type pair struct {
	packet  []byte
	devices []*device.Device

	mu       sync.Mutex
	sent     uint64
	got      uint64
	changed  chan struct{}
	closed   chan struct{}
	sendable bool
}

func (r *role) pair() (worker, error) {
	p := &pair{changed: make(chan struct{}, 1), closed: make(chan struct{})}
	p.packet = datagram(addressOf("operator", 0), addressOf("device", 0), r.Size)
	for _, kind := range []string{"device", "operator"} {
		d, err := r.client(&memoryTUN{pair: p, sends: kind == "operator", events: make(chan tun.Event), closed: make(chan struct{})}, kind, 0)
		if err != nil {
			return nil, err
		}
		p.devices = append(p.devices, d)
	}
	return p, nil
}

// client is wireguard-go with the node as its only peer; a keepalive makes it known
// there at once.
func (r *role) client(t tun.Device, kind string, i int) (*device.Device, error) {
	d := device.NewDevice(t, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	node := publicOf("node", 0)
	err := d.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=%v\nallowed_ip=0.0.0.0/0\npersistent_keepalive_interval=25\n",
		hexOf(keyOf(kind, i).Bytes()), hexOf(node[:]), r.Node))
	if err == nil {
		err = d.Up()
	}
	return d, err
}

// datagram is a UDP packet to the granted port.
func datagram(src, dst netip.Addr, size int) []byte {
	b := packet.AppendEcho(nil, src, dst, 0, 0, nil, size)
	clear(b[packet.IPv4Header:])
	b[9] = packet.UDP
	binary.BigEndian.PutUint16(b[10:], 0)
	binary.BigEndian.PutUint16(b[10:], packet.Checksum(b[:packet.IPv4Header], 0))
	binary.BigEndian.PutUint16(b[20:], 40000)
	binary.BigEndian.PutUint16(b[22:], 3389)
	binary.BigEndian.PutUint16(b[24:], uint16(size-packet.IPv4Header))
	pseudo := packet.Sum(b[12:20], uint32(packet.UDP)+uint32(size-packet.IPv4Header))
	binary.BigEndian.PutUint16(b[26:], packet.Checksum(b[20:], pseudo)) // a TUN merges only what has a right one
	return b
}

func (p *pair) report(command string, r *report) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if command == "go" {
		p.sendable = true
		p.signal()
	}
	r.Packets = p.got
	return nil
}

func (p *pair) signal() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *pair) stop() {
	for _, d := range p.devices {
		d.Close()
	}
}

// memoryTUN is the pair's end: the operator's reads packets to send, the device's
// counts those that come.
type memoryTUN struct {
	*pair
	sends  bool
	events chan tun.Event
	closed chan struct{}
	once   sync.Once
}

func (t *memoryTUN) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	if !t.sends {
		<-t.closed
		return 0, os.ErrClosed
	}
	for {
		t.mu.Lock()
		n := 0
		if t.sendable {
			n = min(len(bufs), inFlight-int(t.sent-t.got))
			t.sent += uint64(n)
		}
		t.mu.Unlock()
		if n > 0 {
			for i := range n {
				sizes[i] = copy(bufs[i][offset:], t.packet)
			}
			return n, nil
		}
		select {
		case <-t.changed:
		case <-t.closed:
			return 0, os.ErrClosed
		case <-time.After(50 * time.Millisecond): // what was on its way is lost
			t.mu.Lock()
			t.sent = t.got
			t.mu.Unlock()
		}
	}
}

func (t *memoryTUN) Write(bufs [][]byte, offset int) (int, error) {
	t.mu.Lock()
	t.got += uint64(len(bufs))
	if t.sent < t.got {
		t.sent = t.got // came after all
	}
	free := inFlight - int(t.sent-t.got)
	t.mu.Unlock()
	if free >= conn.IdealBatchSize {
		t.signal()
	}
	return len(bufs), nil
}

func (t *memoryTUN) Close() error {
	t.once.Do(func() {
		close(t.closed)
		close(t.events)
	})
	return nil
}

func (t *memoryTUN) File() *os.File           { return nil }
func (t *memoryTUN) MTU() (int, error)        { return mtu, nil }
func (t *memoryTUN) Name() (string, error)    { return "pair", nil }
func (t *memoryTUN) Events() <-chan tun.Event { return t.events }
func (t *memoryTUN) BatchSize() int           { return conn.IdealBatchSize }

// A bench is a node's namespace and one for those who use it.
type bench struct {
	node *netlab.Host
	ends [2]*netlab.Host
	at   [2]netip.AddrPort // the node, as each of the ends reaches it
	runs int
}

func newBench(tb testing.TB) *bench {
	l := netlab.New(tb)
	b := &bench{node: l.Host("node"), ends: [2]*netlab.Host{l.Host("devices"), l.Host("operators")}}
	for i, h := range b.ends {
		k := l.Link(b.node, fmt.Sprintf("192.0.%d.1/24", 2+i), h, fmt.Sprintf("192.0.%d.2/24", 2+i))
		b.at[i] = netip.AddrPortFrom(k.A.Addr, nodePort)
	}
	l.Start()
	return b
}

// A passed is one measurement of a node.
type passed struct {
	rate   float64 // packets a second
	perCPU float64 // packets per CPU-second of the node
}

// pass has a pair send through a fresh node.
func (b *bench) pass(kind string, size int) (f passed, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), *window+2*time.Minute)
	defer cancel()
	b.runs++
	r := role{Kind: kind, Sessions: 1}
	if *profile != "" {
		r.Profile = filepath.Join(*profile, fmt.Sprintf("%s-%d-%d.pprof", kind, size, b.runs))
	}
	n, err := spawn(ctx, b.node, r)
	if err != nil {
		return f, err
	}
	defer n.stop()
	p, err := spawn(ctx, b.ends[0], role{Kind: "pair", Node: b.at[0], Size: size})
	if err != nil {
		return f, err
	}
	defer p.stop()
	if _, err := p.ask("go"); err != nil {
		return f, err
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		r, err := p.ask("")
		if err != nil {
			return f, err
		}
		if r.Packets > 10_000 {
			break
		}
		if time.Now().After(end) {
			return f, errors.New("no traffic")
		}
	}
	sample := func() (packets uint64, cpu time.Duration, err error) {
		was, err := n.ask("")
		if err != nil {
			return 0, 0, err
		}
		r, err := p.ask("")
		return r.Packets, was.CPU, err
	}
	start := time.Now()
	packets, cpu, err := sample()
	if err != nil {
		return f, err
	}
	time.Sleep(*window)
	after, spent, err := sample()
	if err != nil {
		return f, err
	}
	f.rate = float64(after-packets) / time.Since(start).Seconds()
	f.perCPU = float64(after-packets) / (spent - cpu).Seconds()
	return f, nil
}

// BenchmarkPPS measures a userspace node and a plain one in turns, and prints the
// median of the rounds' ratios. Run it with -benchtime 1x.
func BenchmarkPPS(b *testing.B) {
	if os.Getuid() != 0 {
		b.Fatal("gateway/userspace-pps is not measured: network namespaces need root")
	}
	n := newBench(b)
	for b.Loop() {
		for _, c := range []struct {
			name string
			size int
			kind string
		}{{"userspace-pps", 100, "at-least"}, {"userspace-pps-full", mtu, "info"}} {
			var rate, perCPU, ours []float64
			for i := range *rounds {
				var f [2]passed
				for j := range f {
					j = (i + j) % 2 // each is first in every other round
					var err error
					if f[j], err = n.pass([]string{"plain", "ours"}[j], c.size); err != nil {
						b.Fatal(err)
					}
				}
				rate, perCPU, ours = append(rate, f[1].rate/f[0].rate), append(perCPU, f[1].perCPU/f[0].perCPU), append(ours, f[1].rate)
				b.Logf("%s, round %d: plain %.0f/s and %.0f per CPU-second, ours %.0f and %.0f", c.name, i+1, f[0].rate, f[0].perCPU, f[1].rate, f[1].perCPU)
			}
			for _, list := range [][]float64{rate, perCPU, ours} {
				slices.Sort(list)
			}
			k := *rounds
			fmt.Println()
			line(c.name, rate[k/2], "x-plain", c.kind, 0.9)
			line(c.name+"-quarter", rate[k/4], "x-plain", "info", 0)
			line(c.name+"-three-quarters", rate[k*3/4], "x-plain", "info", 0)
			line(c.name+"-cpu", perCPU[k/2], "x-plain", "info", 0)
			line(c.name+"-ours", ours[k/2], "1/s", "info", 0)
		}
	}
}
