//go:build linux

package planebench

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/gateway/internal/userspace"
	"github.com/boothwire/boothwire/internal/packet"
)

const (
	nodePort = 51820
	mtu      = 1280
)

var nodeAddress = netip.AddrFrom4([4]byte{10, 166, 0, 1})

// sessionOf is session number i.
func sessionOf(i int) reach.Session {
	return reach.Session{
		ID:     fmt.Sprintf("session-%d", i),
		Device: reach.Device{Key: publicOf("device", i), Addresses: []netip.Addr{addressOf("device", i)}},
		Operators: []reach.Operator{{Key: publicOf("operator", i), Address: addressOf("operator", i), Ports: []reach.Port{
			{Proto: packet.TCP, Number: uploadPort}, {Proto: packet.TCP, Number: echoPort}, {Proto: packet.UDP, Number: 3389},
		}}},
		End: time.Now().Add(time.Hour),
	}
}

// node is a node at work; only its CPU is of interest.
type node struct {
	close func()
	file  *os.File
}

func (n *node) report(string, *report) error { return nil }

func (n *node) stop() {
	if n.file != nil {
		pprof.StopCPUProfile()
		n.file.Close()
	}
	n.close()
}

func (r *role) profiled(stop func()) (*node, error) {
	n := &node{close: stop}
	if r.Profile == "" {
		return n, nil
	}
	f, err := os.Create(r.Profile)
	if err == nil {
		n.file = f
		err = pprof.StartCPUProfile(f)
	}
	return n, err
}

// ours is a node with the userspace plane.
func (r *role) ours() (worker, error) {
	cfg := userspace.Config{PrivateKey: [32]byte(keyOf("node", 0).Bytes()), Listen: nodePort, Proof: nodeAddress, MTU: mtu, Uplink: r.Uplink}
	if r.Police > 0 {
		cfg.Bind = &policer{Bind: conn.NewDefaultBind(), rate: float64(r.Police) / 8, last: time.Now()}
	}
	p, err := userspace.Open(cfg)
	if err != nil {
		return nil, err
	}
	for i := range r.Sessions {
		if err := p.Set(sessionOf(i)); err != nil {
			return nil, err
		}
	}
	return r.profiled(func() { p.Close() })
}

// plain is a node that is wireguard-go on a TUN whose kernel forwards, and no more.
func (r *role) plain() (worker, error) {
	const name = "node0"
	nic, err := tun.CreateTUN(name, mtu)
	if err != nil {
		return nil, err
	}
	d := device.NewDevice(nic, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	var conf strings.Builder
	fmt.Fprintf(&conf, "private_key=%s\nlisten_port=%d\n", hexOf(keyOf("node", 0).Bytes()), nodePort)
	for i := range r.Sessions {
		for _, kind := range []string{"device", "operator"} {
			key := publicOf(kind, i)
			fmt.Fprintf(&conf, "public_key=%s\nallowed_ip=%v/32\n", hexOf(key[:]), addressOf(kind, i))
		}
	}
	err = d.IpcSet(conf.String())
	for _, args := range [][]string{
		{"addr", "add", nodeAddress.String() + "/32", "dev", name},
		{"link", "set", name, "up"},
		{"route", "add", "10.166.0.0/16", "dev", name},
	} {
		if err == nil {
			if out, e := exec.Command("ip", args...).CombinedOutput(); e != nil {
				err = fmt.Errorf("ip %q: %w: %s", args, e, out)
			}
		}
	}
	for key, value := range map[string]string{"ip_forward": "1", "conf/all/send_redirects": "0", "conf/node0/send_redirects": "0", "conf/all/rp_filter": "0", "conf/node0/rp_filter": "0"} {
		if err == nil {
			err = os.WriteFile("/proc/sys/net/ipv4/"+key, []byte(value), 0o644)
		}
	}
	if err == nil {
		err = d.Up()
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return r.profiled(d.Close)
}

// policer drops what goes out beyond a rate, as a line of an operator's may: a bucket
// of 64 KiB, and no queue.
type policer struct {
	conn.Bind
	rate float64 // bytes a second

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

func (p *policer) Send(bufs [][]byte, ep conn.Endpoint) error {
	p.mu.Lock()
	now := time.Now()
	p.tokens = min(64<<10, p.tokens+now.Sub(p.last).Seconds()*p.rate)
	p.last = now
	keep := make([][]byte, 0, len(bufs))
	for _, b := range bufs {
		inner := float64(len(b) - device.MinMessageSize) // as the plane counts
		if p.tokens >= inner {
			p.tokens -= inner
			keep = append(keep, b)
		}
	}
	p.mu.Unlock()
	if len(keep) == 0 {
		return nil
	}
	return p.Bind.Send(keep, ep)
}
