package bind

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"
)

// A node is one WireGuard device with a channel for a TUN.
type node struct {
	t    *testing.T
	bind *Bind
	dev  *device.Device
	tun  *tuntest.ChannelTUN
	addr netip.Addr
	far  *Peer
	got  chan uint32 // numbers of the packets that came through the tunnel
	quit chan struct{}
	done sync.WaitGroup
}

// pair makes two devices, not yet with a path to each other.
func pair(t *testing.T, a, b *Bind) (*node, *node) {
	t.Helper()
	keys := [2]*ecdh.PrivateKey{}
	for i := range keys {
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = k
	}
	return start(t, a, 1, keys[0], keys[1].PublicKey()), start(t, b, 2, keys[1], keys[0].PublicKey())
}

func start(t *testing.T, b *Bind, n byte, key *ecdh.PrivateKey, other *ecdh.PublicKey) *node {
	t.Helper()
	d := &node{
		t: t, bind: b, tun: tuntest.NewChannelTUN(),
		addr: netip.AddrFrom4([4]byte{10, 166, 0, n}),
		got:  make(chan uint32, 1<<16), quit: make(chan struct{}),
	}
	d.dev = device.NewDevice(d.tun.TUN(), b, device.NewLogger(device.LogLevelSilent, ""))
	d.far = b.AddPeer("far")
	text := fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=peer:far\nallowed_ip=10.166.0.%d/32\n",
		hex.EncodeToString(key.Bytes()), hex.EncodeToString(other.Bytes()), 3-n)
	if err := d.dev.IpcSet(text); err != nil {
		t.Fatal(err)
	}
	if err := d.dev.Up(); err != nil {
		t.Fatal(err)
	}
	d.done.Go(func() {
		for {
			select {
			case p := <-d.tun.Inbound:
				d.got <- binary.BigEndian.Uint32(p[28:])
			case <-d.quit:
				return
			}
		}
	})
	t.Cleanup(func() {
		d.dev.Close()
		close(d.quit)
		d.done.Wait()
	})
	return d
}

// send puts packet n for the other node into the tunnel.
func (d *node) send(n uint32) {
	p := make([]byte, 32)
	p[0], p[3], p[8], p[9] = 0x45, 32, 64, 17
	copy(p[12:], d.addr.AsSlice())
	copy(p[16:], []byte{10, 166, 0, 3 - d.addr.As4()[3]})
	binary.BigEndian.PutUint32(p[28:], n)
	select {
	case d.tun.Outbound <- p:
	case <-time.After(long):
		d.t.Error("the device does not read its TUN")
	}
}

// want waits for packet n and returns how many came before it.
func (d *node) want(n uint32) (before int) {
	d.t.Helper()
	deadline := time.After(long)
	for {
		select {
		case got := <-d.got:
			if got == n {
				return before
			}
			before++
		case <-deadline:
			d.t.Fatalf("packet %d did not come", n)
		}
	}
}

// wantAll waits for the packets from first to last, in any order.
func (d *node) wantAll(first, last uint32) {
	d.t.Helper()
	missing := make(map[uint32]bool)
	for n := first; n <= last; n++ {
		missing[n] = true
	}
	deadline := time.After(long)
	for len(missing) > 0 {
		select {
		case n := <-d.got:
			delete(missing, n)
		case <-deadline:
			d.t.Fatalf("lost %v", missing)
		}
	}
}

// local is the loopback address of a node's socket.
func (d *node) local() netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), d.bind.Port())
}

// handshakes counts what a node's inner Bind sends.
type handshakes struct{ initiations, responses atomic.Int64 }

// A lossy is an inner Bind that loses what it is told to lose on the way out.
type lossy struct {
	conn.Bind
	handshakes
	lose func(msg []byte) bool
}

func newLossy(lose func(msg []byte) bool) *lossy {
	return &lossy{Bind: conn.NewStdNetBind(), lose: lose}
}

func (l *lossy) Send(bufs [][]byte, ep conn.Endpoint) error {
	keep := make([][]byte, 0, len(bufs))
	for _, b := range bufs {
		switch classify(b) {
		case kindInitiation:
			l.initiations.Add(1)
		case kindResponse:
			l.responses.Add(1)
		}
		if l.lose == nil || !l.lose(b) {
			keep = append(keep, b)
		}
	}
	if len(keep) == 0 {
		return nil
	}
	return l.Bind.Send(keep, ep)
}

// first loses the first n messages of a kind.
func first(n int64, k kind) func([]byte) bool {
	var seen atomic.Int64
	return func(msg []byte) bool { return classify(msg) == k && seen.Add(1) <= n }
}

// A box is a NAT on loopback: what comes to its front goes on to a host from its
// back, and what comes to its back returns to where the front heard from last.
type box struct {
	front *net.UDPConn
	host  netip.AddrPort
	pass  atomic.Int64 // packets
	hole  atomic.Bool  // loses all
	lost  atomic.Int64

	mu     sync.Mutex
	back   *net.UDPConn
	inside netip.AddrPort
	wg     sync.WaitGroup
}

func newBox(t *testing.T, host netip.AddrPort) *box {
	t.Helper()
	x := &box{host: host, front: socket(t)}
	x.rebind(t)
	x.wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := x.front.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			x.mu.Lock()
			x.inside = unmap(from)
			back := x.back
			x.mu.Unlock()
			if x.hole.Load() {
				x.lost.Add(1)
				continue
			}
			x.pass.Add(1)
			back.WriteToUDPAddrPort(buf[:n], x.host)
		}
	})
	t.Cleanup(func() {
		x.front.Close()
		x.mu.Lock()
		x.back.Close()
		x.mu.Unlock()
		x.wg.Wait()
	})
	return x
}

func socket(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadBuffer(4 << 20)
	return c
}

// rebind gives the inside a new address outside, as a NAT does that was restarted.
func (x *box) rebind(t *testing.T) {
	t.Helper()
	back := socket(t)
	x.mu.Lock()
	old := x.back
	x.back = back
	x.mu.Unlock()
	if old != nil {
		old.Close()
	}
	x.wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, _, err := back.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			x.mu.Lock()
			inside := x.inside
			x.mu.Unlock()
			if !x.hole.Load() && inside.IsValid() {
				x.front.WriteToUDPAddrPort(buf[:n], inside)
			}
		}
	})
}

// in and out are the addresses that the host inside and the one outside send to.
func (x *box) in() netip.AddrPort { return x.front.LocalAddr().(*net.UDPAddr).AddrPort() }

func (x *box) out() netip.AddrPort {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.back.LocalAddr().(*net.UDPAddr).AddrPort()
}
