package kernel

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/boothwire/boothwire/internal/kernelvm"
)

const (
	shareDevices = 20
	shareLine    = 4_000_000            // bit/s
	shareDelay   = 5 * time.Millisecond // of each packet between an end and the node
	shareWarm    = 15 * time.Second
	shareWindow  = 40 * time.Second
)

// BenchmarkShares has twenty devices upload through a node's line of 4 Mbit/s, beside
// a node that polices the line: who gets how much of it, what a keystroke waits, and
// what has to be sent again. All of it is one kernel's: ends, WireGuard and TCP.
func BenchmarkShares(b *testing.B) {
	for range b.N {
		kernelvm.Run(b, kernelvm.Config{
			Bench:   "^BenchmarkGuestShares$",
			Modules: append([]string{"sch_netem", "sch_ingress", "act_police", "cls_matchall"}, modules...), Timeout: 15 * time.Minute,
		})
	}
}

func BenchmarkGuestShares(b *testing.B) {
	if !kernelvm.Inside() {
		b.Skip("runs in the guest of BenchmarkShares")
	}
	for range b.N {
		ours, policed := shares(b, false), shares(b, true)
		figure("kernel-share-least", ours.least, "x-fair", "at-least", 0.85)
		figure("kernel-share-most", ours.most, "x-fair", "at-most", 1.15)
		figure("kernel-share-total", ours.total, "x-line", "at-least", 0.9)
		figure("kernel-share-rtt", ours.busy/ours.idle, "x-idle", "at-most", 3)
		figure("kernel-share-resent", ours.resent/policed.resent, "x-policed", "at-most", 0.333)
		figure("kernel-share-least-policed", policed.least, "x-fair", "info", 0)
		figure("kernel-share-most-policed", policed.most, "x-fair", "info", 0)
		figure("kernel-share-total-policed", policed.total, "x-line", "info", 0)
		figure("kernel-share-rtt-policed", policed.busy/policed.idle, "x-idle", "info", 0)
	}
}

// shared is what became of the line.
type shared struct {
	least, most, total float64 // of the fair share, and of the line, in bytes of IP
	idle, busy         float64 // ms, a keystroke and its echo, 95th percentile
	resent             float64 // of the segments
}

func shares(b *testing.B, police bool) (s shared) {
	slow(b, shareDelay)
	defer slow(b, 0)
	node := newKey()
	cfg := Config{PrivateKey: node.private, Listen: 51820, Pool: netip.MustParsePrefix("10.166.0.0/16"), Proof: netip.MustParseAddr("10.166.255.1")}
	if !police {
		cfg.Uplink = shareLine
	}
	p, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	if police {
		policed(b, p.links.operators)
	}
	var all []*couple
	for n := range shareDevices {
		c := newCouple(b, p, node.public, n+1)
		defer c.close()
		all = append(all, c)
	}
	keys := all[0].dial(b, 'e')
	s.idle = keystrokes(b, keys, 10*time.Second)
	var bulk []*flow
	for _, c := range all {
		f := c.upload(b)
		defer f.close()
		bulk = append(bulk, f)
	}
	time.Sleep(shareWarm)
	before := snapshot(bulk)
	began := time.Now()
	s.busy = keystrokes(b, keys, shareWindow)
	took := time.Since(began).Seconds()
	after := snapshot(bulk)
	var got []float64
	var total float64
	for i := range all {
		n := float64(after.bytes[i] - before.bytes[i])
		got = append(got, n)
		total += n
	}
	fair := total / shareDevices
	s.least, s.most = slices.Min(got)/fair, slices.Max(got)/fair
	const segment = DefaultMTU - 52
	s.total = total * 8 / took / shareLine * DefaultMTU / segment
	s.resent = float64(after.resent-before.resent) / (total / segment)
	fmt.Printf("police %v: %+v, shares %.0f\n", police, s, got)
	return s
}

// slow puts a delay on the way between ends and node, 0: none.
func slow(b *testing.B, d time.Duration) {
	b.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		b.Fatal(err)
	}
	q := netlink.NewNetem(netlink.QdiscAttrs{LinkIndex: lo.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		netlink.NetemQdiscAttrs{Latency: uint32(d.Microseconds()), Limit: 10_000})
	if d == 0 {
		err = netlink.QdiscDel(q)
	} else {
		err = netlink.QdiscAdd(q)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// policed drops what leaves link beyond the line.
func policed(b *testing.B, link netlink.Link) {
	b.Helper()
	index := link.Attrs().Index
	if err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}); err != nil {
		b.Fatal(err)
	}
	action := netlink.NewPoliceAction()
	action.Rate, action.Burst, action.Mtu = shareLine/8, 64<<10, 65535
	action.ExceedAction, action.NotExceedAction = netlink.TC_POLICE_SHOT, netlink.TC_POLICE_OK
	if err := netlink.FilterAdd(&netlink.MatchAll{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.HANDLE_MIN_EGRESS, Priority: 1, Protocol: unix.ETH_P_ALL},
		Actions:     []netlink.Action{action},
	}); err != nil {
		b.Fatal(err)
	}
}

// couple is a session whose two ends are the kernel's, each in a namespace.
type couple struct {
	device, operator *place
	at               netip.AddrPort
	listener         net.Listener
	accepted         chan net.Conn
	dialled          []net.Conn
	work             sync.WaitGroup
}

func newCouple(b *testing.B, p *Plane, node [32]byte, n int) *couple {
	b.Helper()
	s, dev, op := described(n)
	if err := p.Set(s); err != nil {
		b.Fatal(err)
	}
	c := &couple{
		device:   newPlace(b, fmt.Sprintf("d%d", n), dev, node, p.links.port, s.Device.Addresses[0]),
		operator: newPlace(b, fmt.Sprintf("o%d", n), op, node, p.links.entry, s.Operators[0].Address),
		at:       netip.AddrPortFrom(s.Device.Addresses[0], 22),
		accepted: make(chan net.Conn, 2),
	}
	err := c.device.do(func() (err error) {
		if u, err := net.Dial("udp", netip.AddrPortFrom(p.proof, 9).String()); err == nil {
			u.Write([]byte("hello")) // which begins the handshake
			u.Close()
		}
		c.listener, err = net.Listen("tcp", c.at.String())
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	c.work.Go(c.serve)
	return c
}

// serve floods who says b, and echoes to who says e.
func (c *couple) serve() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.work.Go(func() {
			defer conn.Close()
			var word [1]byte
			if _, err := io.ReadFull(conn, word[:]); err != nil {
				return
			}
			if word[0] == 'e' {
				_, _ = io.Copy(conn, conn)
				return
			}
			c.accepted <- conn
			for buf := make([]byte, 64<<10); ; {
				if _, err := conn.Write(buf); err != nil {
					return
				}
			}
		})
	}
}

func (c *couple) dial(b *testing.B, word byte) (conn net.Conn) {
	b.Helper()
	for end := time.Now().Add(patience); ; {
		err := c.operator.do(func() (err error) {
			conn, err = net.DialTimeout("tcp", c.at.String(), 10*time.Second)
			return err
		})
		if err == nil {
			break
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
	c.dialled = append(c.dialled, conn)
	if _, err := conn.Write([]byte{word}); err != nil {
		b.Fatal(err)
	}
	return conn
}

// flow is one upload.
type flow struct {
	conn  net.Conn // at the operator
	from  net.Conn // at the device
	bytes atomic.Int64
}

func (f *flow) close() { f.from.Close() }

func (c *couple) upload(b *testing.B) *flow {
	f := &flow{conn: c.dial(b, 'b')}
	f.from = <-c.accepted
	c.work.Go(func() {
		for buf := make([]byte, 64<<10); ; {
			n, err := f.conn.Read(buf)
			f.bytes.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	return f
}

// close resets the connections, whose last bytes would find no way any more.
func (c *couple) close() {
	c.listener.Close()
	for _, conn := range c.dialled {
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	c.work.Wait()
	c.device.close()
	c.operator.close()
}

// state is what the flows carried so far.
type state struct {
	bytes  []int64
	resent uint32
}

func snapshot(flows []*flow) (s state) {
	for _, f := range flows {
		s.bytes = append(s.bytes, f.bytes.Load())
		raw, err := f.from.(*net.TCPConn).SyscallConn()
		if err != nil {
			panic(err)
		}
		raw.Control(func(fd uintptr) {
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				s.resent += info.Total_retrans
			}
		})
	}
	return s
}

// keystrokes types for a while, and returns what a key and its echo take, in ms.
func keystrokes(b *testing.B, c net.Conn, window time.Duration) float64 {
	b.Helper()
	var list []time.Duration
	for end := time.Now().Add(window); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		t := time.Now()
		c.SetDeadline(t.Add(patience))
		var key [50]byte
		if _, err := c.Write(key[:]); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, key[:]); err != nil {
			b.Fatal(err)
		}
		list = append(list, time.Since(t))
	}
	return quantile(list, 0.95).Seconds() * 1000
}

// place is a network namespace with one WireGuard interface in it, whose packets go
// by the namespace that it was made in.
type place struct {
	ns   *os.File
	name string
}

func newPlace(b *testing.B, name string, key keyPair, node [32]byte, port uint16, a netip.Addr) *place {
	b.Helper()
	p := &place{name: name}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			p.ns, err = os.Open("/proc/thread-self/ns/net")
		}
		made <- err
	}()
	if err := <-made; err != nil {
		b.Fatal(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, DefaultMTU
	link := &netlink.Wireguard{LinkAttrs: attrs}
	if err := netlink.LinkAdd(link); err != nil {
		b.Fatal(err)
	}
	wg, err := wgctrl.New()
	if err != nil {
		b.Fatal(err)
	}
	defer wg.Close()
	private := wgtypes.Key(key.private)
	if err := wg.ConfigureDevice(name, wgtypes.Config{PrivateKey: &private, Peers: []wgtypes.PeerConfig{{
		PublicKey: node, Endpoint: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)},
		AllowedIPs: []net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}},
	}}}); err != nil {
		b.Fatal(err)
	}
	if err := netlink.LinkSetNsFd(link, int(p.ns.Fd())); err != nil {
		b.Fatal(err)
	}
	if err := p.do(func() error {
		nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer nl.Close()
		link, err := nl.LinkByName(name)
		if err != nil {
			return err
		}
		if err := nl.AddrAdd(link, address(a)); err != nil {
			return err
		}
		if err := nl.LinkSetUp(link); err != nil {
			return err
		}
		return nl.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, Scope: netlink.SCOPE_LINK})
	}); err != nil {
		b.Fatal(err)
	}
	return p
}

// do runs f on a thread in the namespace; what f opens stays there.
func (p *place) do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(p.ns.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func (p *place) close() { p.ns.Close() }
