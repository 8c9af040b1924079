package bind

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

// streamEnd is a connection in memory that keeps packets apart.
type streamEnd struct {
	net.Conn
	in, out chan []byte
	cut     chan struct{}
}

func newStreamEnd() *streamEnd {
	return &streamEnd{in: make(chan []byte, 16), out: make(chan []byte, 16), cut: make(chan struct{})}
}

func (s *streamEnd) Read(p []byte) (int, error) {
	select {
	case b := <-s.in:
		return copy(p, b), nil
	case <-s.cut:
		return 0, net.ErrClosed
	}
}

func (s *streamEnd) Write(p []byte) (int, error) { s.out <- bytes.Clone(p); return len(p), nil }

func streamed(index byte) []byte {
	return append([]byte{4, 0, 0, 0, index, 0, 0, 0}, make([]byte, 40)...)
}

func TestRoutes(t *testing.T) {
	four, six := netip.MustParseAddrPort("192.0.2.1:5"), netip.MustParseAddrPort("[::ffff:192.0.2.1]:5")
	if At(four) != At(six) || At(four).IsStream() || At(four).Addr() != four {
		t.Error("one address has two routes")
	}
	if !At(netip.AddrPort{}).IsZero() || At(four).IsZero() {
		t.Error("no address is a route, or an address none")
	}
}

func TestStream(t *testing.T) {
	b := New(nil, Config{})
	fns, _, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p := b.AddPeer("a")
	c, gone := newStreamEnd(), make(chan error, 1)
	r := p.AddStream(c, func(err error) { gone <- err })
	udp := netip.MustParseAddrPort("127.0.0.1:9")
	p.SetRoutes(r, At(udp))
	if primary, also := p.Routes(); primary != r || also != At(udp) || p.Path().IsValid() {
		t.Errorf("routes %v, %v, path %v", primary, also, p.Path())
	}
	if err := b.Send([][]byte{streamed(1), streamed(2)}, p.ep); err != nil {
		t.Fatal(err)
	}
	for i := byte(1); i < 3; i++ {
		if got := <-c.out; !bytes.Equal(got, streamed(i)) {
			t.Errorf("sent %x", got)
		}
	}
	// What comes carries the peer's endpoint; what is not WireGuard's goes nowhere.
	c.in <- []byte("nonsense")
	c.in <- streamed(7)
	receive := fns[len(fns)-1]
	bufs, sizes, eps := [][]byte{make([]byte, 2000)}, make([]int, 1), make([]conn.Endpoint, 1)
	for n := 0; n == 0; {
		if n, err = receive(bufs, sizes, eps); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(bufs[0][:sizes[0]], streamed(7)) || eps[0] != conn.Endpoint(p.ep) {
		t.Errorf("received %x from %v", bufs[0][:sizes[0]], eps[0])
	}
	if p.Route() != r || p.Heard(r).IsZero() || !p.Heard(At(udp)).IsZero() {
		t.Error("it was not heard by the stream alone")
	}
	// WireGuard finds the peer at another address: the stream stays.
	b.setRoamed(p, netip.MustParseAddrPort("127.0.0.1:10"))
	if primary, also := p.Routes(); primary != r || also.Addr().Port() != 10 {
		t.Errorf("roamed to %v, %v", primary, also)
	}
	close(c.cut)
	if err := <-gone; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ended by %v", err)
	}
	if primary, also := p.Routes(); primary.Addr().Port() != 10 || !also.IsZero() {
		t.Errorf("after its end %v, %v", primary, also)
	}
	p.SetRoutes(r, Route{}) // one that is over is no route
	if primary, _ := p.Routes(); !primary.IsZero() {
		t.Errorf("a stream that is over is the path")
	}
}

// A stream whose packets nobody takes ends all the same.
func TestStreamRemoved(t *testing.T) {
	b := New(nil, Config{})
	p := b.AddPeer("a")
	c, gone := newStreamEnd(), make(chan error, 1)
	r := p.AddStream(c, func(err error) { gone <- err })
	for range 4 {
		c.in <- streamed(1)
	}
	time.Sleep(10 * time.Millisecond)
	p.RemoveStream(r)
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("its reader stays")
	}
}
