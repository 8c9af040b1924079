package bind

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A pipeEnd is one end of a stream in memory that loses what finds no room.
type pipeEnd struct {
	net.Conn
	handshakes
	in, out chan []byte
	lose    func(msg []byte) bool
	hole    atomic.Bool
	once    *sync.Once
	cut     chan struct{}
}

// A batchEnd is one that passes batches.
type batchEnd struct{ *pipeEnd }

func newPipe() (a, b *pipeEnd) {
	to, from := make(chan []byte, 1<<12), make(chan []byte, 1<<12)
	cut, once := make(chan struct{}), new(sync.Once)
	return &pipeEnd{in: from, out: to, cut: cut, once: once}, &pipeEnd{in: to, out: from, cut: cut, once: once}
}

func (e *pipeEnd) Read(p []byte) (int, error) {
	select {
	case b := <-e.in:
		return copy(p, b), nil
	case <-e.cut:
		return 0, net.ErrClosed
	}
}

func (e *pipeEnd) Write(p []byte) (int, error) {
	switch classify(p) {
	case kindInitiation:
		e.initiations.Add(1)
	case kindResponse:
		e.responses.Add(1)
	}
	if e.hole.Load() || e.lose != nil && e.lose(p) {
		return len(p), nil
	}
	select {
	case <-e.cut:
		return 0, net.ErrClosed
	case e.out <- bytes.Clone(p):
	default:
	}
	return len(p), nil
}

func (e *pipeEnd) Close() error { e.once.Do(func() { close(e.cut) }); return nil }

func (e batchEnd) ReadBatch(bufs [][]byte, sizes []int) (n int, err error) {
	if sizes[0], err = e.Read(bufs[0]); err != nil {
		return 0, err
	}
	for n = 1; n < len(bufs) && len(e.in) > 0; n++ {
		if sizes[n], err = e.Read(bufs[n]); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (e batchEnd) WriteBatch(bufs [][]byte) (int, error) {
	for i, b := range bufs {
		if _, err := e.Write(b); err != nil {
			return i, err
		}
	}
	return len(bufs), nil
}

// joined gives two nodes a stream to each other.
func joined(t *testing.T, a, b *node) (ra, rb Route, ea, eb *pipeEnd) {
	t.Helper()
	ea, eb = newPipe()
	var ends sync.WaitGroup
	ends.Add(2)
	ra = a.far.AddStream(batchEnd{ea}, func(error) { ends.Done() })
	rb = b.far.AddStream(eb, func(error) { ends.Done() })
	t.Cleanup(func() {
		ea.Close()
		ends.Wait()
	})
	return ra, rb, ea, eb
}

func TestTwoDevicesOverAStream(t *testing.T) {
	a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
	ra, rb, _, _ := joined(t, a, b)
	a.far.SetRoutes(ra, Route{})
	b.far.SetRoutes(rb, Route{})
	for n := range uint32(100) {
		a.send(n)
		b.want(n)
		b.send(n)
		a.want(n)
	}
	for _, d := range []*node{a, b} {
		primary, also := d.far.Routes()
		if n, at := d.far.Heard(primary); n < 100 || at.IsZero() || !also.IsZero() || d.far.Route() != primary {
			t.Errorf("heard %d at %v, also %v", n, at, also)
		}
	}
	// The streams outlive the device's down and up, with the same endpoint.
	time.Sleep(50 * ms)
	if err := b.dev.Down(); err != nil {
		t.Fatal(err)
	}
	a.send(1000)
	if err := b.dev.Up(); err != nil {
		t.Fatal(err)
	}
	b.send(1001)
	a.want(1001)
}

func TestInitiationWaitsForAStream(t *testing.T) {
	began := time.Now()
	a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
	a.send(1)
	for len(a.bind.indices()) == 0 {
		time.Sleep(ms)
	}
	ra, rb, end, _ := joined(t, a, b)
	if got := end.initiations.Load(); got != 0 {
		t.Fatalf("%d initiations left before it was a path", got)
	}
	b.far.SetRoutes(rb, Route{})
	a.far.SetRoutes(ra, Route{})
	b.want(1)
	a.wantOneHandshake(began)
}

func TestLostHandshakeMessagesOverAStream(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b func([]byte) bool
	}{
		{"initiation", first(3, kindInitiation), nil},
		{"response", nil, first(3, kindResponse)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
			ra, rb, ea, eb := joined(t, a, b)
			ea.lose, eb.lose = tt.a, tt.b
			b.far.SetRoutes(rb, Route{})
			a.far.SetRoutes(ra, Route{})
			a.send(1)
			b.want(1)
			a.wantOneHandshake(began)
		})
	}
}

func TestGlareOverAStream(t *testing.T) {
	began := time.Now()
	a, b := pair(t, New(nil, Config{}), New(nil, Config{HoldInitiation: time.Second}))
	ra, rb, _, eb := joined(t, a, b)
	a.send(1)
	b.send(2)
	for len(a.bind.indices()) == 0 || len(b.bind.indices()) == 0 {
		time.Sleep(ms)
	}
	b.far.SetRoutes(rb, Route{})
	a.far.SetRoutes(ra, Route{})
	b.want(1)
	a.want(2)
	a.wantOneHandshake(began)
	if got := eb.initiations.Load(); got != 0 && time.Since(began) < time.Second {
		t.Errorf("the end that waits began %d times beside the other", got)
	}
}

// TestUpgradeUnderTrafficLosesNothing swaps both ends between a stream and an address
// while packets flow both ways, with both carrying them in between.
func TestUpgradeUnderTrafficLosesNothing(t *testing.T) {
	a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
	ra, rb, _, _ := joined(t, a, b)
	direct := newBox(t, b.local())
	ua, ub := At(direct.in()), At(direct.out())
	a.far.SetRoutes(ra, Route{})
	b.far.SetRoutes(rb, Route{})
	a.send(0)
	b.want(0)
	a.far.SetRoutes(ra, ua) // the box has to know its inside before it can carry anything
	a.send(0)
	waitFor(t, func() bool { return direct.pass.Load() > 0 })
	const packets = 1000
	for n := uint32(1); n <= packets; n++ {
		switch n % 100 {
		case 10: // in doubt
			a.far.SetRoutes(ra, ua)
		case 20:
			b.far.SetRoutes(rb, ub)
		case 30: // direct
			a.far.SetRoutes(ua, Route{})
			b.far.SetRoutes(ub, Route{})
		case 60: // the reverse
			a.far.SetRoutes(ua, ra)
			b.far.SetRoutes(ub, rb)
		case 80:
			b.far.SetRoutes(rb, Route{})
			a.far.SetRoutes(ra, Route{})
		}
		a.send(n)
		b.send(n)
		if n%10 == 0 {
			b.wantAll(n-9, n)
			a.wantAll(n-9, n)
		}
	}
	for _, d := range []*node{a, b} {
		if s := d.far.Stats(); s.Dropped != 0 || s.RxDropped != 0 {
			t.Errorf("dropped %+v", s)
		}
	}
	fromRelay, _ := b.far.Heard(rb)
	fromDirect, _ := b.far.Heard(ub)
	if fromRelay < packets/3 || fromDirect < packets/3 {
		t.Errorf("%d packets by the stream, %d by the address", fromRelay, fromDirect)
	}
}

// TestStreamEndsUnderTraffic cuts the stream while an address gets copies, and the
// hook tells of it.
func TestStreamEndsUnderTraffic(t *testing.T) {
	a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
	ra, rb, ea, _ := joined(t, a, b)
	a.far.SetRoutes(ra, At(b.local()))
	b.far.SetRoutes(rb, At(a.local()))
	a.send(1)
	b.want(1)
	b.send(1)
	a.want(1)
	ea.Close()
	for n := uint32(2); n < 100; n++ {
		a.send(n)
		b.want(n)
		b.send(n)
		a.want(n)
	}
	for _, d := range []*node{a, b} {
		waitFor(t, func() bool { primary, _ := d.far.Routes(); return !primary.IsStream() })
		if _, also := d.far.Routes(); !also.IsZero() {
			t.Errorf("beside the address there is %v", also)
		}
	}
}

// TestBlackholeBesideAStream loses each of the two legs in silence in turn.
func TestBlackholeBesideAStream(t *testing.T) {
	a, b := pair(t, New(nil, Config{}), New(nil, Config{}))
	ra, rb, ea, eb := joined(t, a, b)
	direct := newBox(t, b.local())
	ua, ub := At(direct.in()), At(direct.out())
	a.far.SetRoutes(ra, ua)
	b.far.SetRoutes(rb, ub)
	a.send(1)
	b.want(1)
	direct.hole.Store(true)
	a.send(2)
	b.want(2)
	b.send(3)
	a.want(3)
	direct.hole.Store(false)
	ea.hole.Store(true)
	eb.hole.Store(true)
	a.far.SetRoutes(ua, ra)
	a.send(4)
	b.want(4)
	b.send(5)
	a.want(5)
	if got := a.far.Route(); got != ua {
		t.Errorf("a hears from %v, want %v", got, ua)
	}
}

// TestRebindingBesideAStream moves the direct leg of a session whose path is a stream,
// and the far end of one that knew no address at all.
func TestRebindingBesideAStream(t *testing.T) {
	adopted := make(chan netip.AddrPort, 16)
	a, b := pair(t, New(nil, Config{}), New(nil, Config{Adopted: func(_ string, at netip.AddrPort) { adopted <- at }}))
	ra, rb, ea, _ := joined(t, a, b)
	nat := newBox(t, b.local())
	b.far.SetRoutes(rb, Route{})
	a.far.SetRoutes(ra, At(nat.in()))
	a.send(0)
	b.want(0)
	ea.hole.Store(true) // b hears the address alone
	for n := uint32(1); n < 4; n++ {
		a.send(10 * n)
		b.want(10 * n)
		b.send(10*n + 1)
		a.want(10*n + 1)
		primary, also := b.far.Routes()
		if primary != rb || also != At(nat.out()) {
			t.Errorf("b's path is %v and %v, want the stream and %v", primary, also, nat.out())
		}
		if got := <-adopted; got != nat.out() {
			t.Errorf("adopted %v, want %v", got, nat.out())
		}
		nat.rebind(t)
	}
	// An address before a stream follows WireGuard too.
	b.far.SetRoutes(At(nat.out()), rb)
	nat.rebind(t)
	a.send(100)
	b.want(100)
	b.send(101)
	a.want(101)
	if primary, also := b.far.Routes(); primary != At(nat.out()) || also != rb {
		t.Errorf("b's path is %v and %v", primary, also)
	}
}

// A pump is a stream that gives the same batch for ever.
type pump struct {
	net.Conn
	msg  []byte
	next chan int
	cut  chan struct{}
	sent atomic.Int64
}

func (p *pump) ReadBatch(bufs [][]byte, sizes []int) (int, error) {
	select {
	case n := <-p.next:
		for i := range n {
			sizes[i] = copy(bufs[i], p.msg)
		}
		return n, nil
	case <-p.cut:
		return 0, net.ErrClosed
	}
}

func (p *pump) WriteBatch(bufs [][]byte) (int, error) {
	p.sent.Add(int64(len(bufs)))
	return len(bufs), nil
}

func TestNoAllocationPerStreamBatch(t *testing.T) {
	b := New(newFake(), Config{})
	fns, _, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p := b.AddPeer("far")
	c := &pump{msg: make([]byte, 1400), next: make(chan int), cut: make(chan struct{})}
	copy(c.msg, transport(1, 1))
	defer close(c.cut)
	p.SetRoutes(p.AddStream(c, nil), Route{})
	rd := newReader(fns[len(fns)-1], 128)
	out := [][]byte{c.msg, c.msg, c.msg}
	pass := func() {
		c.next <- streamBatch
		for n := 0; n < streamBatch; {
			m, err := rd.read()
			if err != nil {
				t.Fatal(err)
			}
			n += m
		}
		if err := b.Send(out, p.ep); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 * streamAhead / streamBatch {
		pass() // every place has its buffer now
	}
	if got := testing.AllocsPerRun(100, pass); got != 0 {
		t.Errorf("%v allocations a batch, want 0", got)
	}
	if c.sent.Load() == 0 {
		t.Error("nothing was sent")
	}
}
