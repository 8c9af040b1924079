package bind

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

// Where a test below says that WireGuard did not have to try again: WireGuard
// alone makes its second initiation after five seconds, so that the number of
// different initiations tells whether the Bind did its part, at any speed.

func TestTwoDevices(t *testing.T) {
	a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
	a.far.SetPath(b.local())
	for n := range uint32(100) {
		a.send(n)
		b.want(n)
		b.send(n)
		a.want(n)
	}
	// b knew no path: it found a by what came, once, and then a's object.
	if got := b.far.Path(); got != a.local() {
		t.Errorf("b sends to %v, want %v", got, a.local())
	}
	if s := b.far.Stats(); s.RxPackets < 50 || s.TxPackets < 50 {
		t.Errorf("stats %+v", s)
	}
}

func TestCallersSocket(t *testing.T) {
	for name, wrap := range map[string]func(net.PacketConn) net.PacketConn{
		"a UDP socket":        func(c net.PacketConn) net.PacketConn { return c },
		"another packet conn": func(c net.PacketConn) net.PacketConn { return struct{ net.PacketConn }{c} },
	} {
		t.Run(name, func(t *testing.T) {
			sa, sb := socket(t), socket(t)
			defer sa.Close()
			defer sb.Close()
			a, b := pair(t, NewPacketConn(wrap(sa), Config{}), NewPacketConn(wrap(sb), Config{}))
			if int(a.bind.Port()) != sa.LocalAddr().(*net.UDPAddr).Port || a.bind.PacketConn().LocalAddr().String() != sa.LocalAddr().String() {
				t.Error("not the socket's address")
			}
			a.far.SetPath(b.local())
			for n := range uint32(20) {
				a.send(n)
				b.want(n)
				b.send(n)
				a.want(n)
			}
			// The socket lives through the device's down and up.
			if err := b.dev.Down(); err != nil {
				t.Fatal(err)
			}
			if err := b.dev.Up(); err != nil {
				t.Fatal(err)
			}
			b.send(1000)
			a.want(1000)
		})
	}
}

func TestCallersSocketReceivesNothingOnceClosed(t *testing.T) {
	s, other := socket(t), socket(t)
	defer s.Close()
	defer other.Close()
	b := &packetBind{conn: s}
	fns, _, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Open(0); err != conn.ErrBindAlreadyOpen {
		t.Errorf("second open: %v", err)
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := newReader(fns[0], 1).read(); err != net.ErrClosed {
		t.Errorf("receive after close: %v", err)
	}
	if err := b.SetMark(1); err == nil {
		t.Error("marked a caller's socket")
	}
}

func TestCallersSocketOfBothFamilies(t *testing.T) {
	s, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, b := pair(t, NewPacketConn(s, Config{}), New(nil, Config{}))
	a.far.SetPath(b.local())
	a.send(1)
	b.want(1)
	b.send(2)
	a.want(2)
	if s := a.far.Stats(); s.RxPackets < 2 {
		t.Errorf("%+v: packets from a mapped address are not the peer's", s)
	}
}

func TestIPv6(t *testing.T) {
	if c, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Skip("no IPv6 here:", err)
	} else {
		c.Close()
	}
	a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
	a.far.SetPath(netip.AddrPortFrom(netip.IPv6Loopback(), b.bind.Port()))
	a.send(1)
	b.want(1)
	b.send(2)
	a.want(2)
	if got := b.far.Path().Addr(); got != netip.IPv6Loopback() {
		t.Errorf("b sends to %v", got)
	}
}

func TestInitiationWaitsForThePath(t *testing.T) {
	began := time.Now()
	inner := newLossy(nil)
	a, b := pair(t, New(inner, Config{}), New(nil, Config{}))
	a.send(1)
	for len(a.bind.indices()) == 0 {
		time.Sleep(ms)
	}
	if got := inner.initiations.Load(); got != 0 {
		t.Fatalf("%d initiations left without a path", got)
	}
	a.far.SetPath(b.local())
	b.want(1)
	a.wantOneHandshake(began)
}

// wantOneHandshake checks that WireGuard did not have to begin again, as it does
// by itself five seconds after it began: later than that the check says nothing.
func (d *node) wantOneHandshake(began time.Time) {
	d.t.Helper()
	got := len(d.bind.indices())
	if took := time.Since(began); took > device.RekeyTimeout {
		d.t.Logf("%d handshakes, but it took %v", got, took)
	} else if got != 1 {
		d.t.Errorf("WireGuard made %d initiations, want 1", got)
	}
}

// indices are those of the handshakes that a Bind's device began or answered.
func (b *Bind) indices() []uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []uint32
	for i := range b.local {
		all = append(all, i)
	}
	return all
}

func TestLostHandshakeMessages(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b func([]byte) bool
	}{
		{"initiation", first(3, kindInitiation), nil},
		{"response", nil, first(3, kindResponse)},
		{"both", first(1, kindInitiation), first(2, kindResponse)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			a, b := pair(t, New(newLossy(tt.a), Config{}), New(newLossy(tt.b), Config{}))
			a.far.SetPath(b.local())
			a.send(1)
			b.want(1)
			a.wantOneHandshake(began)
		})
	}
}

func TestGlare(t *testing.T) {
	for range 5 {
		began := time.Now()
		inner := [2]*lossy{newLossy(nil), newLossy(nil)}
		a, b := pair(t, New(inner[0], Config{}), New(inner[1], Config{HoldInitiation: time.Second}))
		// Both have something to say when the path appears, at the same moment.
		a.send(1)
		b.send(2)
		for len(a.bind.indices()) == 0 || len(b.bind.indices()) == 0 {
			time.Sleep(ms)
		}
		at, bt := a.local(), b.local()
		done := make(chan struct{})
		go func() { defer close(done); b.far.SetPath(at) }()
		a.far.SetPath(bt)
		<-done
		b.want(1)
		a.want(2)
		a.wantOneHandshake(began)
		if got := inner[1].initiations.Load(); got != 0 && time.Since(began) < time.Second {
			t.Errorf("the end that waits began %d times beside the other", got)
		}
	}
}

func TestHeldEndBeginsAlone(t *testing.T) {
	a, b := pair(t, New(nil, Config{HoldInitiation: 100 * ms}), New(nil, Config{}))
	a.far.SetPath(b.local())
	a.send(1)
	b.want(1)
}

func TestNATRebinding(t *testing.T) {
	began := time.Now()
	a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
	nat := newBox(t, b.local())
	a.far.SetPath(nat.in())
	a.send(0)
	b.want(0)
	for round := range uint32(3) {
		before := nat.out()
		nat.rebind(t)
		// b's packets go nowhere until a speaks; then they follow it.
		a.send(100 + round)
		b.want(100 + round)
		b.send(200 + round)
		a.want(200 + round)
		if got := b.far.Path(); got != nat.out() || got == before {
			t.Errorf("b sends to %v, want %v", got, nat.out())
		}
	}
	a.wantOneHandshake(began)
}

// TestPathSwapUnderTrafficLosesNothing swaps both ends between two paths while
// packets flow both ways.
func TestPathSwapUnderTrafficLosesNothing(t *testing.T) {
	a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
	boxes := [2]*box{newBox(t, b.local()), newBox(t, b.local())}
	a.far.SetPath(boxes[0].in())
	a.send(0)
	b.want(0)
	b.send(0)
	a.want(0)
	// The second path carries copies before it carries anything alone.
	a.far.SetPaths(boxes[0].in(), boxes[1].in())
	b.far.SetPaths(boxes[0].out(), boxes[1].out())
	a.send(0)
	b.want(0)
	const packets = 1000
	for n := uint32(1); n <= packets; n++ {
		if n%50 == 0 {
			i := n / 50 % 2
			a.far.SetPaths(boxes[i].in(), boxes[1-i].in())
			b.far.SetPaths(boxes[i].out(), boxes[1-i].out())
		}
		if n%50 == 25 {
			i := n / 50 % 2
			a.far.SetPath(boxes[i].in())
			b.far.SetPath(boxes[i].out())
		}
		a.send(n)
		b.send(n)
		if n%10 == 0 { // no more in flight than loopback sockets hold
			b.wantAll(n-9, n)
			a.wantAll(n-9, n)
		}
	}
	for i, x := range boxes {
		if x.pass.Load() < packets/4 {
			t.Errorf("path %d carried %d packets only", i, x.pass.Load())
		}
	}
	for _, d := range []*node{a, b} {
		if s := d.far.Stats(); s.Dropped != 0 {
			t.Errorf("%d dropped", s.Dropped)
		}
	}
}

// TestBlackhole loses a path in silence: packets go on by copies on a second one.
func TestBlackhole(t *testing.T) {
	a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
	first, second := newBox(t, b.local()), newBox(t, b.local())
	a.far.SetPath(first.in())
	a.send(1)
	b.want(1)
	first.hole.Store(true)
	a.send(2)
	for first.lost.Load() == 0 {
		time.Sleep(ms)
	}
	a.far.SetPaths(first.in(), second.in())
	a.send(3)
	if before := b.want(3); before != 0 {
		t.Error("the hole let a packet through")
	}
	b.send(4)
	a.want(4) // b has heard from the second path and roamed there
	if got := a.far.Path(); got != second.in() {
		t.Errorf("a hears from %v, want %v", got, second.in())
	}
	a.far.SetPath(a.far.Path())
	a.send(5)
	b.want(5)
}

// TestFarEndFollowsTheChosenPath lets one end, which was told no path, follow the
// other wherever that chooses to send from, back and forth.
func TestFarEndFollowsTheChosenPath(t *testing.T) {
	a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
	boxes := [2]*box{newBox(t, b.local()), newBox(t, b.local())}
	a.far.SetPath(boxes[0].in())
	a.send(0)
	b.want(0)
	for n := uint32(1); n <= 20; n++ {
		i := n % 2
		a.far.SetPaths(boxes[0].in(), boxes[1].in())
		a.send(3 * n)
		b.want(3 * n)
		a.far.SetPath(boxes[i].in())
		boxes[1-i].hole.Store(true)
		a.send(3*n + 1)
		b.want(3*n + 1)
		b.send(3*n + 2)
		a.want(3*n + 2)
		boxes[1-i].hole.Store(false)
	}
}

func TestSTUNBesideTraffic(t *testing.T) {
	a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
	a.far.SetPath(b.local())
	ca, cb := a.bind.PacketConn(), b.bind.PacketConn()
	buf := make([]byte, 100)
	for n := range uint32(50) {
		a.send(n)
		if _, err := ca.WriteTo(stun(byte(n)), net.UDPAddrFromAddrPort(b.local())); err != nil {
			t.Fatal(err)
		}
		cb.SetReadDeadline(time.Now().Add(long))
		if size, from, err := cb.ReadFrom(buf); size != 20 || err != nil || buf[8] != byte(n) || from.String() != a.local().String() {
			t.Fatalf("STUN %d: %d bytes from %v, %v", n, size, from, err)
		}
		b.want(n)
	}
}

func TestDownAndUpAgain(t *testing.T) {
	a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
	a.far.SetPath(b.local())
	for n := range uint32(5) {
		a.send(n)
		b.want(n)
		port := a.bind.Port()
		// WireGuard's timestamps are 17 ms coarse, and b refuses two that are equal.
		time.Sleep(50 * ms)
		if err := a.dev.Down(); err != nil {
			t.Fatal(err)
		}
		if err := a.dev.Up(); err != nil {
			t.Fatal(err)
		}
		if a.bind.Port() != port {
			t.Errorf("port %d became %d", port, a.bind.Port())
		}
	}
}

// A flaky is an inner Bind whose receivers report an error that ends a plain
// device's receiver for good.
type flaky struct {
	conn.Bind
	every int
}

func (f *flaky) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	fns, port, err := f.Bind.Open(port)
	for i, fn := range fns {
		n := 0
		fns[i] = func(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
			if n++; n%f.every == 0 {
				return 0, &net.OpError{Op: "read", Err: &net.DNSError{}}
			}
			return fn(bufs, sizes, eps)
		}
	}
	return fns, port, err
}

func TestReceiverOutlivesErrors(t *testing.T) {
	a, b := pair(t, New(nil, Config{}), New(&flaky{conn.NewStdNetBind(), 2}, Config{}))
	a.far.SetPath(b.local())
	for n := range uint32(20) {
		a.send(n)
		b.want(n)
	}
}
