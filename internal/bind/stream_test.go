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

func (s *streamEnd) Write(p []byte) (int, error) {
	select {
	case s.out <- bytes.Clone(p):
	default: // lost, as Write must not wait
	}
	return len(p), nil
}

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
	if n, at := p.Heard(r); n != 1 || at.IsZero() {
		t.Errorf("heard %d by the stream, %v", n, at)
	}
	if n, at := p.Heard(At(udp)); p.Route() != r || n != 0 || !at.IsZero() {
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

// What the device does not take is lost and counted, and the reader goes on.
func TestStreamDropsWhatFindsNoRoom(t *testing.T) {
	b := New(newFake(), Config{})
	p := b.AddPeer("a")
	c, gone := newStreamEnd(), make(chan error, 1)
	r := p.AddStream(c, func(err error) { gone <- err })
	const lost = 20
	for range streamAhead {
		c.in <- streamed(1)
	}
	for range lost {
		c.in <- streamed(2)
	}
	waitFor(t, func() bool { return p.Stats().RxDropped == lost })
	// A Bind that is opened begins with what comes from then on.
	fns, _, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c.in <- streamed(3)
	rd := newReader(fns[len(fns)-1], 8)
	if n, err := rd.read(); n != 1 || err != nil || rd.bufs[0][4] != 3 {
		t.Errorf("received %d, %v, the first %x", n, err, rd.bufs[0][:8])
	}
	p.RemoveStream(r)
	p.RemoveStream(r)
	close(c.cut)
	if err := <-gone; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ended by %v", err)
	}
}

// Packets wait in order, and a call gives no more than it has room for.
func TestStreamQueueOrder(t *testing.T) {
	b := New(newFake(), Config{})
	fns, _, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	one, two := newStreamEnd(), newStreamEnd()
	p, q := b.AddPeer("one"), b.AddPeer("two")
	rp, rq := p.AddStream(one, nil), q.AddStream(two, nil)
	defer close(one.cut)
	defer close(two.cut)
	rd := newReader(fns[len(fns)-1], 3)
	for round := range 3 * streamAhead / 10 {
		for i := range 5 {
			one.in <- streamed(byte(i))
		}
		waitFor(t, func() bool { return len(one.in) == 0 && b.queued() == 5 })
		for i := range 5 {
			two.in <- streamed(byte(5 + i))
		}
		waitFor(t, func() bool { return len(two.in) == 0 && b.queued() == 10 })
		for at := 0; at < 10; {
			n, err := rd.read()
			if err != nil || n != min(3, 10-at) {
				t.Fatalf("round %d, packet %d: read %d, %v", round, at, n, err)
			}
			for i := range n {
				want := conn.Endpoint(p.ep)
				if at >= 5 {
					want = q.ep
				}
				if !bytes.Equal(rd.bufs[i][:rd.sizes[i]], streamed(byte(at))) || rd.eps[i] != want {
					t.Fatalf("round %d, packet %d: %x from %v", round, at, rd.bufs[i][:rd.sizes[i]], rd.eps[i])
				}
				at++
			}
		}
	}
	np, _ := p.Heard(rp)
	nq, _ := q.Heard(rq)
	if want := uint64(3 * streamAhead / 10 * 5); np != want || nq != want || p.Stats().RxPackets != want {
		t.Errorf("heard %d and %d, want %d", np, nq, want)
	}
	if n, _ := q.Heard(rp); n != 0 {
		t.Error("heard by another peer's stream")
	}
}

func (b *Bind) queued() int {
	b.streams.mu.Lock()
	defer b.streams.mu.Unlock()
	return b.streams.count
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(long); !ok(); time.Sleep(ms / 4) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// Streams end with their peer, and one of a peer that is gone never begins.
func TestStreamOfAPeerThatIsGone(t *testing.T) {
	b := New(newFake(), Config{})
	p, other := b.AddPeer("a"), b.AddPeer("b")
	c, late := newStreamEnd(), newStreamEnd()
	gone := make(chan error, 2)
	r := p.AddStream(c, func(err error) { gone <- err })
	p.SetRoutes(r, Route{})
	other.SetRoutes(r, At(addr(addrA))) // another's stream is none
	if primary, also := other.Routes(); primary != At(addr(addrA)) || !also.IsZero() {
		t.Errorf("routes %v, %v", primary, also)
	}
	other.RemoveStream(r)
	if r.stream.over() {
		t.Error("another peer removed it")
	}
	b.RemovePeer("a")
	if primary, _ := p.Routes(); !primary.IsZero() {
		t.Error("a removed peer has a path")
	}
	p.AddStream(late, func(err error) { gone <- err })
	c.in <- streamed(1)
	late.in <- streamed(1)
	for range 2 {
		if err := <-gone; !errors.Is(err, net.ErrClosed) {
			t.Errorf("ended by %v", err)
		}
	}
	if n := b.queued(); n != 0 {
		t.Errorf("%d packets of it wait", n)
	}
}

// A second stream stays when the first one ends, and what SetRoutes says after that
// counts.
func TestStreamLeavesThePathThatItIsIn(t *testing.T) {
	b := New(newFake(), Config{})
	p := b.AddPeer("a")
	first, second := newStreamEnd(), newStreamEnd()
	r1, r2 := p.AddStream(first, nil), p.AddStream(second, nil)
	defer close(second.cut)
	defer close(first.cut)
	for _, tt := range []struct {
		primary, also, removed Route
		want                   [2]Route
	}{
		{r1, r2, Route{}, [2]Route{r1, r2}},
		{At(addr(addrA)), r2, Route{}, [2]Route{At(addr(addrA)), r2}},
		{At(addr(addrA)), r2, r1, [2]Route{At(addr(addrA)), r2}},
		{At(addr(addrA)), r1, Route{}, [2]Route{At(addr(addrA))}},
		{r1, r2, Route{}, [2]Route{r2}},
		{r2, At(addr(addrA)), r2, [2]Route{At(addr(addrA))}},
	} {
		p.SetRoutes(tt.primary, tt.also)
		p.RemoveStream(tt.removed)
		if primary, also := p.Routes(); [2]Route{primary, also} != tt.want {
			t.Errorf("%v: %v, %v", tt, primary, also)
		}
	}
	if len(p.streams) != 0 {
		t.Errorf("%d streams are left", len(p.streams))
	}
}
