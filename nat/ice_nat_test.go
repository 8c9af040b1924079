package nat

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// kinds of NATs by RFC 3489's names.
func simKind(w *world, kind, public string) *simNAT {
	switch kind {
	case "open":
		return nil
	case "full":
		return w.nat(public, independent, independent)
	case "address":
		return w.nat(public, independent, addressDependent)
	case "port":
		return w.nat(public, independent, portDependent)
	case "symmetric":
		return w.nat(public, portDependent, portDependent)
	}
	panic(kind)
}

func simEnd(w *world, kind, public, private string) *simSock {
	n := simKind(w, kind, public)
	if n == nil {
		return w.sock(public+":5000", nil)
	}
	return w.sock(private+":5000", n)
}

const (
	simServer  = "192.0.2.250:3478"
	simPublicA = "198.51.100.1"
	simPublicB = "203.0.113.1"
)

// meet dials and accepts, and returns both results.
func meet(t *testing.T, a, b *simSock, cfg *Config) (d, c *Conn, err, err2 error) {
	x, y := posts(false)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { c, err2 = Accept(ctx, b, y, testSecret, cfg) })
	d, err = Dial(ctx, a, x, testSecret, cfg)
	wg.Wait()
	return d, c, err, err2
}

func TestNATs(t *testing.T) {
	for _, test := range []struct{ dials, accepts, pair, back string }{
		{"open", "open", "host-host", "host-host"},
		{"open", "port", "host-srflx", "srflx-host"},
		{"port", "open", "srflx-host", "host-srflx"},
		{"open", "symmetric", "host-prflx", "prflx-host"},
		{"symmetric", "open", "prflx-host", "host-prflx"},
		{"full", "full", "srflx-srflx", "srflx-srflx"},
		{"full", "port", "srflx-srflx", "srflx-srflx"},
		{"address", "port", "srflx-srflx", "srflx-srflx"},
		{"port", "port", "srflx-srflx", "srflx-srflx"},
		{"full", "symmetric", "srflx-prflx", "prflx-srflx"},
		{"symmetric", "full", "prflx-srflx", "srflx-prflx"},
		{"address", "symmetric", "srflx-prflx", "prflx-srflx"},
		{"symmetric", "address", "prflx-srflx", "srflx-prflx"},
		{"port", "symmetric", "", ""},
		{"symmetric", "port", "", ""},
		{"symmetric", "symmetric", "", ""},
	} {
		t.Run(test.dials+" "+test.accepts, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				stop := w.sock(simServer, nil).serve(t, 0)
				defer stop()
				a := simEnd(w, test.dials, simPublicA, "10.0.0.2")
				b := simEnd(w, test.accepts, simPublicB, "10.1.0.2")
				start := time.Now()
				d, c, err, err2 := meet(t, a, b, &Config{STUN: []string{simServer}})
				t.Logf("after %v", time.Since(start))
				if test.pair == "" {
					noPath(t, err)
					noPath(t, err2)
					return
				}
				if err != nil || err2 != nil {
					t.Fatalf("Dial: %v; Accept: %v", err, err2)
				}
				defer d.Close()
				defer c.Close()
				if d.Pair().String() != test.pair || c.Pair().String() != test.back {
					t.Errorf("pairs %v and %v, want %v and %v", d.Pair(), c.Pair(), test.pair, test.back)
				}
				if d.Pair().Local.Addr != c.SocketAddr() || c.Pair().Local.Addr != d.SocketAddr() {
					t.Errorf("the ends do not agree: %+v and %+v", d.Pair(), c.Pair())
				}
				for _, c := range []*Conn{d, c} {
					if rtt, err := c.Check(t.Context()); err != nil || rtt != 2*simDelay {
						t.Errorf("Check: %v, %v; want %v", rtt, err, 2*simDelay)
					}
				}
			})
		})
	}
}

// noPath demands that err says what was tried.
func noPath(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.Is(err, ErrNoPath) || !errors.As(err, &e) || e.Code() != ReasonNoPath {
		t.Fatalf("got %v, want ErrNoPath", err)
	}
	if len(e.Local) != 2 || len(e.Remote) != 2 || e.Local[1].Type != ServerReflexive || e.Remote[1].Type != ServerReflexive {
		t.Errorf("candidates tried: %v", e)
	}
}

// A STUN query is sent again; before it is answered both ends know nothing that
// could lead through their NATs.
func TestLostQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		stop := w.sock(simServer, nil).serve(t, 3)
		defer stop()
		d, c, err, err2 := meet(t, simEnd(w, "port", simPublicA, "10.0.0.2"), simEnd(w, "port", simPublicB, "10.1.0.2"), &Config{STUN: []string{simServer}})
		if err != nil || err2 != nil {
			t.Fatalf("Dial: %v; Accept: %v", err, err2)
		}
		d.Close()
		c.Close()
	})
}

// Two hosts of one network need no NAT between them to hairpin.
func TestSameNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n := w.nat(simPublicA, independent, portDependent)
		stop := w.sock(simServer, nil).serve(t, 0)
		defer stop()
		d, c, err, err2 := meet(t, w.sock("10.0.0.2:5000", n), w.sock("10.0.0.3:5000", n), &Config{STUN: []string{simServer}})
		if err != nil || err2 != nil {
			t.Fatalf("Dial: %v; Accept: %v", err, err2)
		}
		defer d.Close()
		defer c.Close()
		if d.Pair().String() != "host-host" {
			t.Errorf("pair %v", d.Pair())
		}
	})
}

func TestIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		d, c, err, err2 := meet(t, w.sock("[2001:db8::1]:5000", nil), w.sock("[2001:db8:1::1]:5000", nil), nil)
		if err != nil || err2 != nil {
			t.Fatalf("Dial: %v; Accept: %v", err, err2)
		}
		defer d.Close()
		defer c.Close()
		if d.SocketAddr() != netip.MustParseAddrPort("[2001:db8:1::1]:5000") {
			t.Errorf("SocketAddr: %v", d.SocketAddr())
		}
	})
}

// No check goes to what the tunnel carries, also when the far end offers it.
func TestRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		refused := netip.MustParsePrefix("10.166.0.0/16")
		w.seen = func(from, to netip.AddrPort, _ int) {
			if refused.Contains(to.Addr()) {
				t.Errorf("%v sent to %v", from, to)
			}
		}
		a, b := w.sock("198.51.100.1:5000", nil), w.sock("10.166.0.5:5000", nil)
		x, y := posts(false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if c, err := Accept(ctx, b, y, testSecret, nil); err == nil {
				t.Errorf("a path to %v", c.SocketAddr())
			}
		})
		if c, err := Dial(ctx, a, x, testSecret, &Config{Refuse: []netip.Prefix{refused}}); err == nil {
			t.Errorf("a path to %v", c.SocketAddr())
		}
		wg.Wait()
	})
}

// A path that carries nothing any more fails checks at once and Read in the end.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		cfg := &Config{Keepalive: 2 * time.Second}
		d, c, err, err2 := meet(t, w.sock("198.51.100.1:5000", nil), w.sock("203.0.113.1:5000", nil), cfg)
		if err != nil || err2 != nil {
			t.Fatalf("Dial: %v; Accept: %v", err, err2)
		}
		defer d.Close()
		defer c.Close()
		time.Sleep(time.Minute) // idle
		if _, err := d.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		w.cut = true
		w.mu.Unlock()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		if _, err := d.Check(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Check: %v", err)
		}
		if took := time.Since(start); took != 250*time.Millisecond {
			t.Errorf("Check took %v", took)
		}
		for _, c := range []*Conn{d, c} {
			_, err := c.Read(nil)
			var e *Error
			if !errors.As(err, &e) || e.Code() != ReasonPathLost {
				t.Errorf("Read: %v", err)
			}
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("lost after %v", took)
		}
	})
}

// A Conn is a net.Conn but for the data.
func TestConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		d, c, err, err2 := meet(t, w.sock("198.51.100.1:5000", nil), w.sock("203.0.113.1:5000", nil), nil)
		if err != nil || err2 != nil {
			t.Fatalf("Dial: %v; Accept: %v", err, err2)
		}
		defer c.Close()
		if d.LocalAddr().String() != "198.51.100.1:5000" || d.RemoteAddr().String() != "203.0.113.1:5000" {
			t.Errorf("%v to %v", d.LocalAddr(), d.RemoteAddr())
		}
		if _, err := d.Write([]byte("x")); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Write: %v", err)
		}
		for range 3 {
			start := time.Now()
			_ = d.SetDeadline(start.Add(time.Second))
			if _, err := d.Read(nil); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("Read: %v after %v", err, time.Since(start))
			}
		}
		_ = d.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Hour, func() { d.Close() })
		if _, err := d.Read(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
		if _, err := d.Write(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
		d.Close()
	})
}

// An exchanger that ends takes the search with it before anybody was heard, and
// not after.
func TestExchangerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		a, b := w.sock("198.51.100.1:5000", nil), w.sock("203.0.113.1:5000", nil)
		x, _ := posts(false)
		for _, f := range []func() (*Conn, error){
			func() (*Conn, error) { return Dial(t.Context(), a, &ending{post: x}, testSecret, nil) },
			func() (*Conn, error) { return Accept(t.Context(), a, &ending{post: x}, testSecret, nil) },
		} {
			_, err := f()
			var e *Error
			if !errors.As(err, &e) || e.Code() != ReasonSignaling || !errors.Is(err, errEnding) {
				t.Errorf("got %v", err)
			}
		}
		x, y := posts(false)
		var wg sync.WaitGroup
		wg.Go(func() {
			c, err := Accept(t.Context(), b, &ending{y, 1}, testSecret, nil)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
		d, err := Dial(t.Context(), a, &ending{x, 1}, testSecret, nil)
		wg.Wait()
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
	})
}

// ending is an exchanger that ends after some messages.
type ending struct {
	*post
	after int
}

var errEnding = errors.New("the session is over")

func (e *ending) ReceiveOffer(ctx context.Context) ([]byte, error) {
	if e.after--; e.after < 0 {
		return nil, errEnding
	}
	return e.post.ReceiveOffer(ctx)
}

// An end that nobody answers gives up, and an idle or hopeless one is quiet.
func TestUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		x, _ := posts(false)
		start := time.Now()
		_, err := Dial(t.Context(), w.sock("198.51.100.1:5000", nil), x, testSecret, nil)
		var e *Error
		if !errors.Is(err, ErrNoPath) || !errors.As(err, &e) || e.Code() != ReasonUnanswered {
			t.Errorf("Dial: %v", err)
		}
		if took := time.Since(start); took != attemptMost {
			t.Errorf("took %v", took)
		}
		if n := len(x.out); n < 3 || n > 10 {
			t.Errorf("%d offers in %v", n, attemptMost)
		}
	})
}
