package tunnel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// await returns the next event of one of the kinds.
func await(t *testing.T, tn *Tunnel, after int, kinds ...EventKind) (n int) {
	t.Helper()
	ctx := testContext(t)
	i := 0
	for e := range tn.Events(ctx) {
		i++
		if i <= after {
			continue
		}
		for _, k := range kinds {
			if e.Kind == k {
				return i
			}
		}
	}
	t.Fatalf("no %v came; %+v", kinds, tn.Status())
	return 0
}

// bounce is a connection to an echo service at the device.
func bounce(t *testing.T, o *Tunnel) func(text string) error {
	t.Helper()
	c, err := o.Dial(testContext(t), "tcp", ":22")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return func(text string) error {
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(c, text); err != nil {
			return err
		}
		buf := make([]byte, len(text))
		if _, err := io.ReadFull(c, buf); err != nil {
			return err
		}
		if !bytes.Equal(buf, []byte(text)) {
			return errors.New("came back as " + string(buf))
		}
		return nil
	}
}

func withEcho(t *testing.T, device *Config) {
	device.Services = map[keys.Port]string{keys.TCP(22): serveTCP(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })}
}

// TestOutage loses every packet for a while: the tunnel says so, and mends
// itself with its connections.
func TestOutage(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t, keys.TCP(22))
	withEcho(t, device)
	m := newMiddle(t, operator.Paths[0].Addr)
	operator.Paths[0].Addr = m.addr()
	device.Paths = nil // it is called
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	say := bounce(t, o)
	if err := say("before"); err != nil {
		t.Fatal(err)
	}
	m.drop.Store(true)
	said := make(chan error, 1)
	go func() { said <- say("through it") }()
	n := await(t, o, 0, EventUnproved)
	if s := o.Status(); s.State != Degraded || s.Why == "" {
		t.Errorf("status %+v", s)
	}
	await(t, o, n, EventRepair)
	m.drop.Store(false)
	await(t, o, n, EventProved)
	if err := <-said; err != nil {
		t.Error(err)
	}
	if s := o.Status(); s.State != Connected || s.Why != "" {
		t.Errorf("status %+v", s)
	}
}

// TestFarEndForgets replaces the device by one that knows nothing of the
// session, as after a crash: the operator's end puts it in anew.
func TestFarEndForgets(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t, keys.TCP(22))
	withEcho(t, device)
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	_ = d.Close()
	d = up(t, device)
	if err := bounce(t, o)("again"); err != nil {
		t.Error(err)
	}
	ready(t, d)
}

// TestRebinding changes the port that the operator is seen at, as a NAT does
// when it forgot a mapping, in the middle of a transfer.
func TestRebinding(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t, keys.TCP(22))
	withEcho(t, device)
	m := newMiddle(t, operator.Paths[0].Addr)
	operator.Paths[0].Addr = m.addr()
	device.Paths = nil
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	say := bounce(t, o)
	for range 5 {
		if err := say("hello"); err != nil {
			t.Fatal(err)
		}
		m.rebind()
		if err := say("hello again"); err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		want := m.back.LocalAddr().String()
		m.mu.Unlock()
		for end := time.Now().Add(patience); d.Status().Remote != want; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the device sends to %s, want %s", d.Status().Remote, want)
			}
		}
	}
	for e := range o.Events(ended()) {
		if e.Kind == EventRepair || e.Kind == EventUnproved {
			t.Errorf("roaming took a %s", e.Kind)
		}
	}
}

// ended is a context that has: Events then yields what there is.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestSecondAddress has a far end of which only the third address answers.
func TestSecondAddress(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t)
	dead, mute := socket(t), socket(t)
	defer mute.Close()
	gone := dead.LocalAddr().(*net.UDPAddr).AddrPort()
	_ = dead.Close()
	good := operator.Paths[0]
	operator.Paths = []Path{{Addr: gone}, {Addr: mute.LocalAddr().(*net.UDPAddr).AddrPort()}, good}
	device.Paths = nil
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	if s := o.Status(); s.Remote != good.Addr.String() {
		t.Errorf("sends to %s, want %v", s.Remote, good.Addr)
	}
	await(t, o, 0, EventPath)
}

// sockConn is a path that a func found.
type sockConn struct {
	net.Conn
	addr netip.AddrPort
}

func (c sockConn) SocketAddr() netip.AddrPort { return c.addr }

// TestOpenedPath reaches the far end by a func alone, which fails at first.
func TestOpenedPath(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t, keys.TCP(22))
	withEcho(t, device)
	addr := operator.Paths[0].Addr
	var calls int
	var far net.Conn
	operator.Paths = []Path{{Kind: Direct, Open: func(ctx context.Context, sock net.PacketConn) (net.Conn, error) {
		if sock == nil || sock.LocalAddr() == nil {
			t.Error("no socket")
		}
		if calls++; calls == 1 {
			return nil, errors.New("not yet")
		}
		a, b := net.Pipe()
		far = b
		return sockConn{a, addr}, nil
	}}}
	device.Paths = nil
	d, o := up(t, device), up(t, operator)
	ready(t, d, o)
	n := await(t, o, 0, EventWarning)
	say := bounce(t, o)
	if err := say("over it"); err != nil {
		t.Error(err)
	}
	_ = far.Close() // lost: called again
	await(t, o, n, EventWarning)
	if err := say("still"); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		var again int
		_ = o.do(testContext(t), func() error {
			for _, op := range o.ways {
				if !op.route.IsZero() {
					again++
				}
			}
			return nil
		})
		if again == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the path was not opened again")
		}
	}
}

// datagrams is one end of a connection in memory that keeps packets apart and never
// waits, as a leg at a relay does.
type datagrams struct {
	net.Conn // for what nobody calls
	in, out  chan []byte
	once     *sync.Once
	cut      chan struct{} // both ends' end
}

func datagramPair() (a, b *datagrams) {
	x, y, once, cut := make(chan []byte, 1024), make(chan []byte, 1024), new(sync.Once), make(chan struct{})
	return &datagrams{in: x, out: y, once: once, cut: cut}, &datagrams{in: y, out: x, once: once, cut: cut}
}

func (d *datagrams) Read(p []byte) (int, error) {
	select {
	case b := <-d.in:
		return copy(p, b), nil
	case <-d.cut:
		return 0, net.ErrClosed
	}
}

func (d *datagrams) Write(p []byte) (int, error) {
	select {
	case d.out <- bytes.Clone(p):
	default:
	}
	return len(p), nil
}

func (d *datagrams) Close() error         { d.once.Do(func() { close(d.cut) }); return nil }
func (d *datagrams) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }

// TestStreamPath has two ends that only a stream joins, which is cut and opened again.
func TestStreamPath(t *testing.T) {
	noLeaks(t)
	device, operator := pair(t, keys.TCP(22))
	withEcho(t, device)
	var mu sync.Mutex
	var waiting, last *datagrams // for the other end
	meet := func(context.Context, net.PacketConn) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if c := waiting; c != nil {
			waiting = nil
			return c, nil
		}
		var c *datagrams
		c, waiting = datagramPair()
		last = c
		return c, nil
	}
	device.Paths = []Path{{Kind: Relay, Open: meet}}
	operator.Paths = []Path{{Kind: Relay, Open: meet}}
	d, o := up(t, device), up(t, operator)
	say := bounce(t, o)
	if err := say("through the relay"); err != nil {
		t.Fatal(err)
	}
	for _, end := range []*Tunnel{d, o} {
		await(t, end, 0, EventPath)
		if st := end.Status(); st.Path != Relay || st.Remote != "192.0.2.1:443" {
			t.Errorf("status %+v", st)
		}
	}
	mu.Lock()
	last.Close() // killed: each end opens another
	mu.Unlock()
	await(t, o, 0, EventWarning)
	if err := say("and again"); err != nil {
		t.Error(err)
	}
}

func TestClockStep(t *testing.T) {
	noLeaks(t)
	device, _ := pair(t)
	year := make(chan time.Duration, 1)
	var moved time.Duration
	device.hooks.now = func() time.Time {
		select {
		case moved = <-year:
		default:
		}
		return time.Now().Add(moved)
	}
	d := up(t, device)
	await(t, d, 0, EventSocket)
	year <- -365 * 24 * time.Hour
	await(t, d, 0, EventClock)
	for e := range d.Events(ended()) {
		var c *ClockError
		if e.Kind == EventClock && (!errors.As(e.Err, &c) || c.By.Round(time.Hour) != -365*24*time.Hour) {
			t.Errorf("got %v", e.Err)
		}
	}
}

func TestLifetimeAndIdle(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*Config)
		want error
	}{
		{"lifetime", func(c *Config) { c.Lifetime = 300 * time.Millisecond }, ErrLifetime},
		{"idle", func(c *Config) { c.Idle = 300 * time.Millisecond }, ErrIdle},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			device, operator := pair(t)
			tt.set(device)
			d := up(t, device)
			up(t, operator)
			select {
			case <-d.Done():
			case <-time.After(patience):
				t.Fatal("still up")
			}
			if !errors.Is(d.Err(), tt.want) {
				t.Errorf("got %v, want %v", d.Err(), tt.want)
			}
			if s := d.Status(); s.State != Disconnected {
				t.Errorf("status %+v", s)
			}
			if err := d.Ready(testContext(t)); !errors.Is(err, tt.want) {
				t.Errorf("ready: %v", err)
			}
			if err := d.Close(); err != nil || !errors.Is(d.Err(), tt.want) {
				t.Errorf("close: %v, then %v", err, d.Err())
			}
		})
	}
}
