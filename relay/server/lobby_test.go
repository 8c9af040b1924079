package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/relay/internal/sock"
)

// A street is a listener to whom a test sends people.
type street struct {
	come chan net.Conn
	shut func()
}

func newStreet() *street {
	s := &street{come: make(chan net.Conn)}
	s.shut = sync.OnceFunc(func() { close(s.come) })
	return s
}

func (s *street) Accept() (net.Conn, error) {
	if c, ok := <-s.come; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (s *street) Close() error   { s.shut(); return nil }
func (s *street) Addr() net.Addr { return &net.TCPAddr{} }

// A guest is a connection from an address.
type guest struct {
	net.Conn
	name string
	from net.Addr
	out  bool // it was closed
}

func (g *guest) RemoteAddr() net.Addr { return g.from }
func (g *guest) Close() error         { g.out = true; return nil }

type lobbyTest struct {
	*lobby
	t      *testing.T
	street *street
	turned int
	guests map[string]*guest
	inside map[string]*counted
}

func newLobbyTest(t *testing.T, h *hall, max, perIP int) *lobbyTest {
	l := &lobbyTest{t: t, street: newStreet(), guests: make(map[string]*guest), inside: make(map[string]*counted)}
	l.lobby = newLobby(l.street, h, func() int { return max }, perIP, func(string) { l.turned++ })
	go l.take()
	return l
}

// come has somebody arrive from an address.
func (l *lobbyTest) come(name, from string) *guest {
	g := &guest{name: name, from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 1))}
	l.guests[name] = g
	l.street.come <- g
	synctest.Wait()
	return g
}

// enter has the next one enter, "" if nobody may.
func (l *lobbyTest) enter() string {
	c := l.next()
	if c == nil {
		return ""
	}
	in := c.(*counted)
	name := in.Conn.(*guest).name
	l.inside[name] = in
	return name
}

func (l *lobbyTest) want(names ...string) {
	l.t.Helper()
	var got []string
	for range names {
		got = append(got, l.enter())
	}
	if !slices.Equal(got, names) {
		l.t.Errorf("%q entered, want %q", got, names)
	}
}

// Those who wait enter crowd by crowd in turn, as soon as there is room.
func TestLobbyTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLobbyTest(t, newHall(3, 2), 100, 100)
		defer func() { l.Close(); <-l.over }()
		for _, g := range [][2]string{{"a1", "192.0.2.1"}, {"a2", "192.0.2.1"}, {"a3", "192.0.2.1"}, {"b1", "192.0.2.2"}, {"c1", "2001:db8::1"}, {"c2", "2001:db8:0:7::1"}} {
			l.come(g[0], g[1])
		}
		l.want("a1", "b1", "c1", "")
		l.inside["b1"].Close()
		l.want("a2", "")
		l.inside["c1"].Close()
		l.want("c2", "") // a has both places that an address gets
		l.inside["a1"].Close()
		l.want("a3", "")
		if l.count() != 0 || l.turned != 0 {
			t.Errorf("%d wait, %d were turned away", l.count(), l.turned)
		}
		if len(l.crowds) > 3 || len(l.ring) > 3 {
			t.Errorf("%d lines, %d in the ring", len(l.crowds), len(l.ring))
		}
		l.sweep(time.Now())
		if len(l.crowds) != 0 || len(l.ring) != 0 || len(l.queues) != 0 {
			t.Errorf("of nobody: %d lines, %d in the ring, %d queues", len(l.crowds), len(l.ring), len(l.queues))
		}
	})
}

// A full lobby turns the last of the largest crowd away, and one address has its bound.
func TestLobbyFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLobbyTest(t, newHall(0, 1), 4, 3)
		defer func() { l.Close(); <-l.over }()
		for _, tc := range []struct{ name, from, out string }{
			{"a1", "192.0.2.1", ""},
			{"a2", "192.0.2.1", ""},
			{"a3", "192.0.2.1", ""},
			{"a4", "192.0.2.1", "a4"}, // its address has all it gets
			{"b1", "192.0.2.2", ""},
			{"c1", "192.0.2.3", "a3"},
			{"c2", "192.0.2.3", "c2"}, // it would be as large itself
			{"d1", "192.0.2.4", "a2"},
			{"e1", "192.0.2.5", "e1"}, // all are one of a kind
		} {
			l.come(tc.name, tc.from)
			for name, g := range l.guests {
				if g.out != (name == tc.out) {
					t.Errorf("%s came: %s is out %v", tc.name, name, g.out)
				}
				if g.out {
					delete(l.guests, name)
				}
			}
		}
		check := func(waiting, turned int) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.n != waiting || l.turned != turned {
				t.Errorf("%d wait, %d were turned away, want %d and %d", l.n, l.turned, waiting, turned)
			}
			for name, g := range l.guests {
				if g.out != (waiting == 0) {
					t.Errorf("%s is out %v", name, g.out)
				}
			}
		}
		check(4, 5)
		time.Sleep(waitFor + time.Second)
		synctest.Wait()
		check(0, 9)
	})
}

// A network of a provider that has all it gets does not keep its neighbours waiting.
func TestLobbyNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLobbyTest(t, newHall(10, 1), 100, 2)
		defer func() { l.Close(); <-l.over }()
		for _, name := range []string{"a1", "a2", "a3", "a4"} {
			l.come(name, "2001:db8:0:1::1")
		}
		l.want("a1", "")
		if !l.guests["a4"].out || !l.guests["a3"].out || l.guests["a2"].out {
			t.Error("one address has not its bound")
		}
		l.come("b1", "2001:db8:0:2::1")
		l.want("b1", "")
	})
}

// The largest crowd has to go first, however many small ones there are.
func TestLobbyLargest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLobbyTest(t, newHall(0, 1), 3000, 1000)
		defer func() { l.Close(); <-l.over }()
		for i := range 1000 {
			l.come("crowd", "192.0.2.1")
			l.come("one", fmt.Sprintf("10.0.%d.%d", i>>8, i&255))
			l.come("two", fmt.Sprintf("10.1.%d.%d", i>>8, i&255))
		}
		for i := range 900 {
			if g := l.come("more", fmt.Sprintf("10.2.%d.%d", i>>8, i&255)); g.out {
				t.Fatalf("newcomer %d is turned away", i)
			}
		}
		if in, n := l.sizes.largest(); n != 100 || in.String() != "192.0.2.1/32" || l.count() != 3000 {
			t.Errorf("the largest crowd is %v with %d of %d", in, n, l.count())
		}
	})
}

// Whoever has a smaller crowd inside than another enters though the hall is full.
func TestLobbyMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLobbyTest(t, newHall(3, 3), 100, 100)
		defer func() { l.Close(); <-l.over }()
		for _, name := range []string{"a1", "a2", "a3", "a4"} {
			l.come(name, "192.0.2.1")
		}
		l.want("a1", "a2", "a3", "")
		l.come("b1", "192.0.2.2")
		l.want("b1", "")
		if !l.guests["a1"].out || l.guests["a2"].out {
			t.Error("not the first of the largest crowd is out")
		}
	})
}

// Those who send more than a hello, and those who have hung up, do not stay.
func TestLobbySwept(t *testing.T) {
	if sock.Descriptors() == 0 {
		t.Skip("nobody knows here what waits to be read")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var refused atomic.Int64
	l := newLobby(ln, newHall(0, 1), func() int { return 10 }, 10, func(string) { refused.Add(1) })
	go l.take()
	defer func() { l.Close(); <-l.over }()
	var all []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
	}
	all[0].Write(make([]byte, 1000))
	all[1].Write(make([]byte, 2*unread))
	wait := func(what string, n int, turned int64) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); l.count() != n || refused.Load() != turned; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %d wait, %d were turned away", what, l.count(), refused.Load())
			}
		}
	}
	wait("one sent much", 2, 1)
	all[2].Close()
	wait("one hung up", 1, 1)
}

// Accept waits for somebody, for room, and for the end.
func TestLobbyAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLobbyTest(t, newHall(1, 1), 100, 100)
		type accepted struct {
			c   net.Conn
			err error
		}
		next := make(chan accepted, 1)
		accept := func() { c, err := l.Accept(); next <- accepted{c, err} }
		for _, name := range []string{"a1", "b1"} {
			if name == "a1" {
				go accept()
			}
			l.come(name, "192.0.2.1")
			synctest.Wait()
			if name == "a1" && len(next) != 1 {
				t.Fatal("nobody entered an empty hall")
			}
		}
		first := <-next
		go accept()
		synctest.Wait()
		if len(next) != 0 {
			t.Fatal("two are in a hall for one")
		}
		first.c.Close()
		if second := <-next; second.err != nil {
			t.Fatal(second.err)
		}
		waits := l.come("c1", "192.0.2.1")
		go accept()
		l.Close()
		if a := <-next; !errors.Is(a.err, net.ErrClosed) {
			t.Errorf("%v", a.err)
		}
		if <-l.over; !waits.out {
			t.Error("one who waited is not closed")
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("later: %v", err)
		}
	})
}

// A pause of the system's, such as one without descriptors, is no end.
func TestLobbyPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		l := newLobby(failing(func() error {
			if n++; n < 5 {
				return temporary{}
			}
			return io.EOF
		}), newHall(1, 1), func() int { return 1 }, 1, func(string) {})
		l.take()
		if _, err := l.Accept(); err != io.EOF || n != 5 {
			t.Errorf("%v after %d", err, n)
		}
	})
}

type failing func() error

func (f failing) Accept() (net.Conn, error) { return nil, f() }
func (failing) Close() error                { return nil }
func (failing) Addr() net.Addr              { return &net.TCPAddr{} }

type temporary struct{}

func (temporary) Error() string   { return "no descriptor left" }
func (temporary) Timeout() bool   { return false }
func (temporary) Temporary() bool { return true }
