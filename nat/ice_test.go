package nat

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boothwire/boothwire/internal/leaktest"
)

// patience is for what must happen; what must not is never waited for by it.
const patience = 20 * time.Second

var testSecret = []byte("sixteen bytes or more of a secret")

// A post is one end of an exchange in memory. bad makes it lose, repeat, reorder
// and forge; of three in a row one arrives, so that ten seconds always suffice.
type post struct {
	out, in chan []byte
	bad     bool
	lost    int // in a row; of the one goroutine that sends
}

func posts(bad bool) (a, b *post) {
	x, y := make(chan []byte, 1000), make(chan []byte, 1000)
	return &post{out: x, in: y, bad: bad}, &post{out: y, in: x, bad: bad}
}

func (p *post) SendOffer(_ context.Context, sealed []byte) error {
	if len(sealed) > offerMost {
		return errors.New("too long")
	}
	put := func(b []byte) {
		select {
		case p.out <- append([]byte(nil), b...):
		default:
		}
	}
	if !p.bad {
		put(sealed)
		return nil
	}
	forged := append([]byte(nil), sealed...)
	forged[rand.IntN(len(forged))] ^= 1 << rand.IntN(8)
	put(forged)
	put([]byte("garbage"))
	if p.lost < 2 && rand.IntN(2) == 0 {
		p.lost++
		return nil
	}
	p.lost = 0
	put(sealed)
	late := append([]byte(nil), sealed...)
	time.AfterFunc(time.Duration(rand.IntN(300))*time.Millisecond, func() { put(late) })
	return nil
}

func (p *post) ReceiveOffer(ctx context.Context) ([]byte, error) {
	select {
	case b := <-p.in:
		return b, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func listen(t *testing.T, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Skipf("no %s here: %v", addr, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// both dials and accepts at once.
func both(t *testing.T, a, b net.PacketConn, x, y Exchanger, ca, cb *Config) (dialed, accepted *Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err, err2 error
	var wg sync.WaitGroup
	wg.Go(func() { accepted, err2 = Accept(ctx, b, y, testSecret, cb) })
	dialed, err = Dial(ctx, a, x, testSecret, ca)
	wg.Wait()
	if err != nil || err2 != nil {
		t.Fatalf("Dial: %v; Accept: %v", err, err2)
	}
	return dialed, accepted
}

func check(t *testing.T, c *Conn) {
	t.Helper()
	var err error
	for range 20 { // one may be lost
		if _, err = c.Check(t.Context()); err == nil {
			return
		}
	}
	t.Fatalf("Check: %v", err)
}

func addrOf(c net.PacketConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func TestLoopback(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			a, b := listen(t, addr), listen(t, addr)
			defer leaktest.None(t, goleak.IgnoreCurrent())
			x, y := posts(false)
			d, c := both(t, a, b, x, y,
				&Config{Report: func() string { return "mapping: open" }},
				&Config{Report: func() string { return "line\nbreak" }})
			defer d.Close()
			defer c.Close()
			if d.SocketAddr() != addrOf(b) || c.SocketAddr() != addrOf(a) {
				t.Errorf("SocketAddr: %v and %v, want %v and %v", d.SocketAddr(), c.SocketAddr(), addrOf(b), addrOf(a))
			}
			want := Pair{Candidate{Host, addrOf(a)}, Candidate{Host, addrOf(b)}}
			if d.Pair() != want || c.Pair() != (Pair{want.Remote, want.Local}) {
				t.Errorf("Pair: %+v and %+v, want %+v", d.Pair(), c.Pair(), want)
			}
			if d.FarReport() != "" || c.FarReport() != "mapping: open" {
				t.Errorf("FarReport: %q and %q", d.FarReport(), c.FarReport())
			}
			check(t, d)
			check(t, c)
			d.Close()
			if _, err := d.Read(nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read after Close: %v", err)
			}
			if _, err := d.Check(t.Context()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Check after Close: %v", err)
			}
		})
	}
}

// Every message of signaling may meet any fate; the sockets lose some too.
func TestBadExchange(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	defer leaktest.None(t, goleak.IgnoreCurrent())
	x, y := posts(true)
	for range 5 {
		d, c := both(t, a, b, x, y, nil, nil)
		check(t, d)
		check(t, c)
		d.Close()
		c.Close()
	}
	time.Sleep(300 * time.Millisecond) // for the late ones' timers
}

// The socket is as it was after each Conn.
func TestSequence(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	defer leaktest.None(t, goleak.IgnoreCurrent())
	x, y := posts(false)
	for i := range 10 {
		d, c := both(t, a, b, x, y, nil, nil)
		check(t, d)
		if i%2 == 0 {
			d.Close()
			c.Close()
		} else {
			c.Close()
			d.Close()
		}
		if i%3 == 0 { // a Dial that is broken off
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(20*time.Millisecond, cancel)
			if _, err := Dial(ctx, a, x, testSecret, nil); !errors.Is(err, context.Canceled) {
				t.Fatalf("Dial: %v, want %v", err, context.Canceled)
			}
		}
	}
	got := make([]byte, 100)
	for range 1000 { // checks that arrived late
		if _, err := b.WriteTo([]byte("hello"), a.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		n, _, err := a.ReadFrom(got)
		if err != nil {
			t.Fatal(err)
		}
		if string(got[:n]) == "hello" {
			return
		}
	}
	t.Fatal("the socket does not read what it is sent")
}

// A far end that dials anew ends the old path at once.
func TestSuperseded(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	defer leaktest.None(t, goleak.IgnoreCurrent())
	x, y := posts(false)
	d, c := both(t, a, b, x, y, nil, nil)
	d.Close()
	var next *Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		var err error
		if next, err = Dial(t.Context(), a, x, testSecret, nil); err != nil {
			t.Error(err)
		}
	})
	_, err := c.Read(nil)
	var e *Error
	if !errors.As(err, &e) || e.Code() != ReasonSuperseded {
		t.Errorf("Read: %v, want %s", err, ReasonSuperseded)
	}
	c.Close()
	again, err := Accept(t.Context(), b, y, testSecret, nil)
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	check(t, again)
	check(t, next)
	again.Close()
	next.Close()
}

// An Accept that runs for an older generation, of which nothing more comes,
// follows the newer.
func TestFollowsNewest(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	defer leaktest.None(t, goleak.IgnoreCurrent())
	x, y := posts(false)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	gone := errors.New("it has offered something")
	given := make(chan error, 1)
	first, leave := context.WithCancelCause(ctx)
	go func() { _, err := Dial(first, a, x, testSecret, nil); given <- err }()
	for len(x.out) == 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	leave(gone)
	if err := <-given; !errors.Is(err, gone) && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if len(x.out) == 0 {
		t.Fatal("Dial offered nothing")
	}
	d, c := both(t, a, b, x, y, nil, nil)
	check(t, d)
	check(t, c)
	d.Close()
	c.Close()
}

func TestOtherSecret(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	defer leaktest.None(t, goleak.IgnoreCurrent())
	x, y := posts(false)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if c, err := Accept(ctx, b, y, []byte("another secret of some length"), nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Accept: %v, %v", c, err)
		}
	})
	if c, err := Dial(ctx, a, x, testSecret, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial: %v, %v", c, err)
	}
	wg.Wait()
}

func TestRefusedConfig(t *testing.T) {
	a := listen(t, "127.0.0.1:0")
	x, _ := posts(false)
	for _, test := range []struct {
		name, code string
		secret     []byte
		cfg        Config
	}{
		{"short secret", ReasonConfig, testSecret[:15], Config{}},
		{"server", ReasonConfig, testSecret, Config{STUN: []string{"stun:"}}},
		{"scheme", ReasonConfig, testSecret, Config{STUN: []string{"https://a/b"}}},
		{"servers", ReasonConfig, testSecret, Config{STUN: make([]string, serversMost+1)}},
		{"relay", ReasonUnsupported, testSecret, Config{TURN: []TURN{{URL: "turn:192.0.2.1"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Dial(t.Context(), a, x, test.secret, &test.cfg)
			var e *Error
			if !errors.As(err, &e) || e.Code() != test.code {
				t.Errorf("got %v, want code %s", err, test.code)
			}
		})
	}
}
