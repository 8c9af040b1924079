package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/boothwire/boothwire/keys"
)

// A lab is the ways between two ends: a UDP path whose directions can be cut, and a
// relay that can be killed.
type lab struct {
	t      *testing.T
	socks  [2]*net.UDPConn // what each end sends to
	cut    [2]atomic.Bool  // packets from that end
	noPath atomic.Bool     // direct paths cannot be opened
	work   sync.WaitGroup

	mu    sync.Mutex
	ports [2]uint16
	legs  [2]*leg
	opens [2]map[PathKind]int
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t}
	for i := range l.socks {
		l.socks[i] = socket(t)
		l.opens[i] = make(map[PathKind]int)
	}
	t.Cleanup(func() {
		for _, s := range l.socks {
			_ = s.Close()
		}
		l.work.Wait()
	})
	return l
}

// start carries packets between the ends, which are at the given ports.
func (l *lab) start(ports ...uint16) {
	l.ports = [2]uint16(ports)
	for i := range l.socks {
		l.work.Go(func() {
			buf := make([]byte, 65535)
			for {
				n, _, err := l.socks[i].ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				if !l.cut[i].Load() {
					_, _ = l.socks[1-i].WriteToUDPAddrPort(buf[:n], loopback(l.ports[1-i]))
				}
			}
		})
	}
}

// direct is an end's path over the lab's sockets, as package nat would find it.
func (l *lab) direct(end int) Path {
	return Path{Name: "ice", Kind: Direct, Open: func(ctx context.Context, sock net.PacketConn) (net.Conn, error) {
		l.count(end, Direct)
		if l.noPath.Load() {
			return nil, codedError("no_path")
		}
		return newPunched(sock, l.socks[end].LocalAddr().(*net.UDPAddr).AddrPort()), nil
	}}
}

// relay is an end's leg.
func (l *lab) relay(end int) Path {
	return Path{Name: "relay", Kind: Relay, Open: func(context.Context, net.PacketConn) (net.Conn, error) {
		l.count(end, Relay)
		l.mu.Lock()
		defer l.mu.Unlock()
		g := &leg{lab: l, end: end, in: make(chan []byte, 1024), gone: make(chan struct{})}
		l.legs[end] = g
		return g, nil
	}}
}

func (l *lab) count(end int, k PathKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opens[end][k]++
}

func (l *lab) opened(end int, k PathKind) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opens[end][k]
}

// kill ends both legs at the relay.
func (l *lab) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.legs {
		if g != nil {
			_ = g.Close()
		}
	}
}

// A leg is an end's connection to the lab's relay, which takes a millisecond.
type leg struct {
	net.Conn // for what nobody calls
	lab      *lab
	end      int
	in       chan []byte
	gone     chan struct{}
	once     sync.Once
}

func (g *leg) far() *leg {
	g.lab.mu.Lock()
	defer g.lab.mu.Unlock()
	far := g.lab.legs[1-g.end]
	if far == nil || g.lab.legs[g.end] != g {
		return nil
	}
	select {
	case <-far.gone:
		return nil
	default:
		return far
	}
}

func (g *leg) Read(p []byte) (int, error) {
	select {
	case b := <-g.in:
		return copy(p, b), nil
	case <-g.gone:
		return 0, net.ErrClosed
	}
}

func (g *leg) Write(p []byte) (int, error) {
	if far := g.far(); far != nil {
		select {
		case far.in <- slices.Clone(p):
		default:
		}
	}
	return len(p), nil
}

func (g *leg) Check(ctx context.Context) (time.Duration, error) {
	if g.far() == nil {
		return 0, errors.New("alone")
	}
	select {
	case <-time.After(time.Millisecond):
		return time.Millisecond, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (g *leg) Close() error         { g.once.Do(func() { close(g.gone) }); return nil }
func (g *leg) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }

// punched is a direct path with checks of its own: STUN's header and nothing more.
type punched struct {
	net.Conn // for what nobody calls
	sock     net.PacketConn
	addr     netip.AddrPort
	done     chan struct{}
	once     sync.Once
	reader   sync.WaitGroup

	mu    sync.Mutex
	waits map[string]chan struct{}
}

func newPunched(sock net.PacketConn, addr netip.AddrPort) *punched {
	p := &punched{sock: sock, addr: addr, done: make(chan struct{}), waits: make(map[string]chan struct{})}
	_ = sock.SetReadDeadline(time.Time{})
	p.reader.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := sock.ReadFrom(buf)
			if err != nil {
				return
			}
			b := buf[:n]
			if binary.BigEndian.Uint16(b) == 1 { // a Binding request
				binary.BigEndian.PutUint16(b, 0x101)
				_, _ = sock.WriteTo(b, from)
				continue
			}
			p.mu.Lock()
			if w := p.waits[string(b[8:20])]; w != nil {
				close(w)
				delete(p.waits, string(b[8:20]))
			}
			p.mu.Unlock()
		}
	})
	return p
}

func (p *punched) Check(ctx context.Context) (time.Duration, error) {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, 1)
	binary.BigEndian.PutUint32(b[4:], 0x2112a442)
	binary.BigEndian.PutUint64(b[8:], rand.Uint64())
	w := make(chan struct{})
	p.mu.Lock()
	p.waits[string(b[8:])] = w
	p.mu.Unlock()
	start := time.Now()
	if _, err := p.sock.WriteTo(b, net.UDPAddrFromAddrPort(p.addr)); err != nil {
		return 0, err
	}
	select {
	case <-w:
		return time.Since(start), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-p.done:
		return 0, net.ErrClosed
	}
}

func (p *punched) Close() error {
	p.once.Do(func() {
		close(p.done)
		_ = p.sock.SetReadDeadline(time.Unix(1, 0))
		p.reader.Wait()
		_ = p.sock.SetReadDeadline(time.Time{})
	})
	return nil
}

func (p *punched) Read([]byte) (int, error)   { <-p.done; return 0, net.ErrClosed }
func (p *punched) SocketAddr() netip.AddrPort { return p.addr }
func (p *punched) RemoteAddr() net.Addr       { return net.UDPAddrFromAddrPort(p.addr) }
func (p *punched) Why() string                { return "host-host" }

type codedError string

func (e codedError) Error() string { return "it did not work" }
func (e codedError) Code() string  { return string(e) }

// joined is the configs of two ends over a lab, with a UDP echo service at the device.
func (l *lab) joined(kinds ...PathKind) (device, operator *Config) {
	device, operator = pair(l.t, keys.UDP(3389))
	device.Services = map[keys.Port]string{keys.UDP(3389): serveUDP(l.t)}
	l.start(device.Listen, operator.Listen)
	for end, c := range []*Config{device, operator} {
		c.Paths = nil
		for _, k := range kinds {
			if k == Relay {
				c.Paths = append(c.Paths, l.relay(end))
			} else {
				c.Paths = append(c.Paths, l.direct(end))
			}
		}
	}
	return device, operator
}

// serveUDP sends back what it gets, until the test's end.
func serveUDP(t *testing.T) string {
	s := socket(t)
	var work sync.WaitGroup
	work.Go(func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := s.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = s.WriteToUDPAddrPort(buf[:n], from)
		}
	})
	t.Cleanup(func() { _ = s.Close(); work.Wait() })
	return s.LocalAddr().String()
}

// A pinger sends numbered packets to the echo service and notes what comes back.
type pinger struct {
	t    *testing.T
	conn net.Conn
	work sync.WaitGroup
	stop chan struct{}

	mu   sync.Mutex
	sent int
	back map[uint32]bool
	last time.Time
	gap  time.Duration // the longest between two answers
}

func ping(t *testing.T, o *Tunnel, every time.Duration) *pinger {
	t.Helper()
	c, err := o.Dial(testContext(t), "udp", ":3389")
	if err != nil {
		t.Fatal(err)
	}
	p := &pinger{t: t, conn: c, back: make(map[uint32]bool), stop: make(chan struct{}), last: time.Now()}
	p.work.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-p.stop:
				return
			}
			p.mu.Lock()
			n := p.sent
			p.sent++
			p.mu.Unlock()
			_, _ = c.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
		}
	})
	p.work.Go(func() {
		buf := make([]byte, 100)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if n != 4 {
				continue
			}
			p.mu.Lock()
			p.back[binary.BigEndian.Uint32(buf)] = true
			p.gap = max(p.gap, time.Since(p.last))
			p.last = time.Now()
			p.mu.Unlock()
		}
	})
	t.Cleanup(func() { p.end() })
	return p
}

// look returns how many were sent and came back.
func (p *pinger) look() (sent, back int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent, len(p.back)
}

// none waits until none of the first n packets is missing.
func (p *pinger) none(n uint32) {
	p.t.Helper()
	var lost []uint32
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		lost = nil
		p.mu.Lock()
		for i := range n {
			if !p.back[i] {
				lost = append(lost, i)
			}
		}
		p.mu.Unlock()
		if len(lost) == 0 {
			return
		}
	}
	p.t.Errorf("of %d packets these were lost: %v", n, lost)
}

// reset begins the search for the longest gap anew, and returns it.
func (p *pinger) reset() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	gap := max(p.gap, time.Since(p.last))
	p.gap = 0
	return gap
}

func (p *pinger) end() {
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	_ = p.conn.Close()
	p.work.Wait()
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool, ts ...*Tunnel) {
	t.Helper()
	for end := time.Now().Add(2 * patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			for _, tn := range ts {
				t.Logf("%+v", tn.Status())
			}
			t.Fatalf("it did not come to this: %s", what)
		}
	}
}

// by waits until both ends send by one kind of path, and it works.
func by(t *testing.T, k PathKind, ts ...*Tunnel) {
	t.Helper()
	until(t, "by "+string(k), func() bool {
		for _, tn := range ts {
			s := tn.Status()
			if s.Path != k || !slices.ContainsFunc(s.Ways, func(w Way) bool { return w.Kind == k && w.State == WayCarrying }) {
				return false
			}
		}
		return true
	}, ts...)
}

// settle waits until both ends are on the direct path and the relay stands by.
func settle(t *testing.T, ts ...*Tunnel) {
	t.Helper()
	by(t, Direct, ts...)
	until(t, "the relay stands by", func() bool {
		return !slices.ContainsFunc(ts, func(tn *Tunnel) bool {
			return !slices.ContainsFunc(tn.Status().Ways, func(w Way) bool { return w.Kind == Relay && w.State == WayReady })
		})
	}, ts...)
}

// seen hands over the fields of each line before its event is told.
type seen struct {
	zapcore.LevelEnabler
	see func([]zapcore.Field)
}

func (s seen) With([]zapcore.Field) zapcore.Core { return s }
func (s seen) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return c.AddCore(e, s)
}
func (s seen) Write(_ zapcore.Entry, fields []zapcore.Field) error { s.see(fields); return nil }
func (s seen) Sync() error                                         { return nil }

// TestMoveUp begins over the relay and moves to a direct path that is found later,
// while a thousand packets go there and back.
func TestMoveUp(t *testing.T) {
	noLeaks(t)
	l := newLab(t)
	l.noPath.Store(true)
	device, operator := l.joined(Relay, Direct)
	var telling atomic.Pointer[Tunnel]
	var direct atomic.Bool // was told
	operator.Logger = zap.New(seen{zapcore.InfoLevel, func(fields []zapcore.Field) {
		o := telling.Load()
		if o == nil {
			return
		}
		if slices.ContainsFunc(fields, fieldKind(EventWhy).Equals) && o.Status().Path == Direct && !direct.Load() {
			t.Error("told why before the direct path itself")
		}
		if !slices.ContainsFunc(fields, fieldPath(Direct).Equals) {
			return
		}
		direct.Store(true)
		if s := o.Status(); s.Path != Direct || !strings.HasPrefix(s.Why, "direct: host-host") {
			t.Errorf("told of the direct path, Status says %s, %q", s.Path, s.Why)
		}
	}})
	relayed, look := make(chan struct{}), operator.Paths[1].Open
	operator.Paths[1].Open = func(ctx context.Context, sock net.PacketConn) (net.Conn, error) {
		select {
		case <-relayed: // that no path is found is known after the relay's own
		case <-ctx.Done():
		}
		return look(ctx, sock)
	}
	d, o := up(t, device), up(t, operator)
	telling.Store(o)
	ready(t, d, o)
	by(t, Relay, d, o)
	close(relayed)
	until(t, "a reason", func() bool { return o.Status().Why == "relay: direct failed no_path" }, o)
	s := o.Status()
	if s.State != Connected || s.Remote != "192.0.2.1:443" || len(s.Ways) != 2 {
		t.Errorf("status %+v", s)
	}
	if w := s.Ways[1]; w.State != WayFailed || w.Code != "no_path" || w.Kind != Direct || w.Name != "ice" {
		t.Errorf("direct: %+v", w)
	}
	p := ping(t, o, 2*time.Millisecond)
	until(t, "300 packets", func() bool { n, _ := p.look(); return n >= 300 })
	l.noPath.Store(false)
	began := time.Now()
	by(t, Direct, d, o)
	t.Logf("direct after %v", time.Since(began))
	until(t, "1,000 packets", func() bool { n, _ := p.look(); return n >= 1000 })
	p.none(1000)
	s = o.Status()
	if !strings.HasPrefix(s.Why, "direct: host-host ") || s.RTT <= 0 || s.Remote != l.socks[1].LocalAddr().String() {
		t.Errorf("status %+v", s)
	}
	if s.Ways[0].State != WayReady || s.Ways[0].Spent <= 0 || s.Ways[1].Since.IsZero() {
		t.Errorf("ways %+v", s.Ways)
	}
	var kinds []PathKind
	reasons := 0
	for e := range o.Events(ended()) {
		switch e.Kind {
		case EventPath:
			kinds = append(kinds, e.Path)
		case EventWhy:
			reasons++
		}
		if e.Kind == EventUnproved || e.Kind == EventRepair {
			t.Errorf("moving took a %s", e.Kind)
		}
	}
	if !slices.Equal(kinds, []PathKind{Relay, Direct}) {
		t.Errorf("went by %v", kinds)
	}
	if reasons == 0 {
		t.Error("nothing told why the relay carries")
	}
}

// TestFallBack cuts the direct path, one way or both, and mends it again.
func TestFallBack(t *testing.T) {
	noLeaks(t)
	for _, tt := range []struct {
		name string
		cut  []int
	}{{"both ways", []int{0, 1}}, {"from the device", []int{0}}, {"from the operator", []int{1}}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			device, operator := l.joined(Relay, Direct)
			d, o := up(t, device), up(t, operator)
			ready(t, d, o)
			settle(t, d, o)
			p := ping(t, o, 10*time.Millisecond)
			until(t, "packets", func() bool { _, n := p.look(); return n >= 50 })
			p.reset()
			for _, end := range tt.cut {
				l.cut[end].Store(true)
			}
			began := time.Now()
			by(t, Relay, d, o) // the one that hears packets still too
			_, before := p.look()
			until(t, "packets by the relay", func() bool { _, n := p.look(); return n >= before+20 }, d, o)
			gap := p.reset()
			t.Logf("cut %s: no answer for %v, both ends at the relay after %v", tt.name, gap, time.Since(began))
			if gap > 15*time.Second {
				t.Errorf("no answer for %v", gap)
			}
			if w := o.Status().Ways[1]; w.State == WayCarrying {
				t.Errorf("%+v", w)
			}
			for _, end := range tt.cut {
				l.cut[end].Store(false)
			}
			began = time.Now()
			by(t, Direct, d, o)
			t.Logf("back after %v", time.Since(began))
			if gap := p.reset(); gap > 15*time.Second {
				t.Errorf("the way back took packets for %v", gap)
			}
		})
	}
}

// TestRelayKilled kills the relay while it carries packets, and while it stands by.
func TestRelayKilled(t *testing.T) {
	noLeaks(t)
	l := newLab(t)
	l.noPath.Store(true)
	device, operator := l.joined(Relay, Direct)
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	p := ping(t, o, 10*time.Millisecond)
	before := l.opened(1, Relay)
	l.kill()
	until(t, "another leg", func() bool { return l.opened(1, Relay) > before })
	_, n := p.look()
	until(t, "packets by it", func() bool { _, m := p.look(); return m > n+20 }, d, o)
	t.Logf("no answer for %v", p.reset())
	l.noPath.Store(false)
	settle(t, d, o)
	p.end()

	p = ping(t, o, 2*time.Millisecond)
	until(t, "packets", func() bool { n, _ := p.look(); return n > 100 })
	l.kill() // nobody notices
	until(t, "packets", func() bool { n, _ := p.look(); return n > 300 })
	p.none(300)
}

// TestNoRelay finds nothing but a direct path, whose finder is closed in the middle:
// packets go on to the address.
func TestNoRelay(t *testing.T) {
	noLeaks(t)
	l := newLab(t)
	device, operator := l.joined(Direct)
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	by(t, Direct, d, o)
	p := ping(t, o, 10*time.Millisecond)
	l.noPath.Store(true)
	for _, tn := range []*Tunnel{d, o} {
		_ = tn.do(testContext(t), func() error { signal(tn.ways[0].lost); return nil })
	}
	until(t, "a failed way", func() bool {
		return o.Status().Ways[0].State == WayFailed && d.Status().Ways[0].State == WayFailed
	}, d, o)
	_, n := p.look()
	until(t, "packets", func() bool { _, m := p.look(); return m > n+50 }, d, o)
	l.noPath.Store(false)
	by(t, Direct, d, o)
}

func TestPathPolicies(t *testing.T) {
	for _, tt := range []struct {
		policy Policy
		want   PathKind
		never  PathKind
	}{{RelayOnly, Relay, Direct}, {DirectOnly, Direct, Relay}} {
		t.Run(string(tt.policy), func(t *testing.T) {
			noLeaks(t)
			l := newLab(t)
			device, operator := l.joined(Relay, Direct)
			operator.Policy, device.Policy = tt.policy, tt.policy
			d, o := up(t, device), up(t, operator)
			ready(t, d, o)
			by(t, tt.want, d, o)
			if n := l.opened(0, tt.never) + l.opened(1, tt.never); n != 0 {
				t.Errorf("%s was opened %d times", tt.never, n)
			}
			for _, w := range o.Status().Ways {
				if (w.State == WayOff) != (w.Kind == tt.never) {
					t.Errorf("%+v", w)
				}
			}
			// Later, all may be used.
			all := *operator
			all.Policy = AutoPolicy
			if err := o.Update(testContext(t), &all); err != nil {
				t.Fatal(err)
			}
			until(t, "the other is opened", func() bool { return l.opened(1, tt.never) == 1 }, o)
			if n := l.opened(1, tt.want); n != 1 {
				t.Errorf("%s was opened %d times", tt.want, n)
			}
		})
	}
	device, _ := pair(t)
	device.Policy = "x"
	if tn, err := Up(testContext(t), device); err == nil || tn != nil {
		t.Error("an unknown policy works")
	}
}

// TestUpdateKeepsPaths prolongs a session: what is open stays open, unless the key
// changes.
func TestUpdateKeepsPaths(t *testing.T) {
	noLeaks(t)
	l := newLab(t)
	device, operator := l.joined(Relay, Direct)
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	settle(t, d, o)
	longer := *device
	longer.Lifetime = time.Hour
	if err := d.Update(testContext(t), &longer); err != nil {
		t.Fatal(err)
	}
	if s := d.Status(); s.Path != Direct || s.Left == 0 {
		t.Errorf("status %+v", s)
	}
	if n := l.opened(0, Relay) + l.opened(0, Direct); n != 2 {
		t.Errorf("%d paths were opened", n)
	}
	longer.Key = keys.NewPrivateKey()
	operator.Far.Key = longer.Key.Public()
	if err := o.Update(testContext(t), operator); err != nil {
		t.Fatal(err)
	}
	if err := d.Update(testContext(t), &longer); err != nil {
		t.Fatal(err)
	}
	until(t, "all is opened anew", func() bool { return l.opened(0, Relay) == 2 && l.opened(0, Direct) == 2 }, d, o)
	by(t, Direct, d, o)
	p := ping(t, o, 10*time.Millisecond)
	until(t, "packets", func() bool { _, n := p.look(); return n >= 20 }, d, o)
}

// TestNetworkChange has checked paths prove themselves, and opens what does not.
func TestNetworkChange(t *testing.T) {
	noLeaks(t)
	l := newLab(t)
	device, operator := l.joined(Relay, Direct)
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	settle(t, d, o)
	change := func() {
		_ = o.do(testContext(t), func() error { o.networkChanged(); return nil })
	}
	p := ping(t, o, 10*time.Millisecond)
	change()
	time.Sleep(100 * time.Millisecond)
	by(t, Direct, d, o)
	if n := l.opened(1, Relay) + l.opened(1, Direct); n != 2 {
		t.Errorf("%d paths were opened", n)
	}
	l.cut[1].Store(true) // the old address sends into nothing
	change()
	until(t, "another try", func() bool { return l.opened(1, Direct) >= 2 }, d, o)
	by(t, Relay, d, o)
	l.cut[1].Store(false)
	by(t, Direct, d, o)
	if gap := p.reset(); gap > 15*time.Second {
		t.Errorf("no answer for %v", gap)
	}
}

// TestRenewal sends renewals to a device.
func TestRenewal(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t, keys.TCP(22))
	got := make(chan string, 10)
	device.Lifetime = time.Minute
	var d *Tunnel
	var once sync.Once
	device.Renew = func(token []byte) {
		once.Do(func() {
			longer := *device
			longer.Lifetime = time.Hour
			if err := d.Update(context.Background(), &longer); err != nil {
				t.Error(err)
			}
		})
		got <- string(token)
	}
	d = up(t, device)
	o := up(t, operator)
	ready(t, d, o)
	long := strings.Repeat("t", MaxRenew)
	for _, token := range []string{"first", long} {
		if err := o.SendRenew([]byte(token)); err != nil {
			t.Fatal(err)
		}
		select {
		case s := <-got:
			if s != token {
				t.Errorf("got %q, want %q", s, token)
			}
		case <-time.After(patience):
			t.Fatal("nothing came")
		}
	}
	if left := d.Status().Left; left < 30*time.Minute {
		t.Errorf("%v left", left)
	}
	for _, bad := range []string{"", long + "t"} {
		if err := o.SendRenew([]byte(bad)); err == nil {
			t.Errorf("%d bytes were sent", len(bad))
		}
	}
	if err := d.SendRenew([]byte("t")); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a device sends: %v", err)
	}
	_ = o.Close()
	if err := o.SendRenew([]byte("t")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
