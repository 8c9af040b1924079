package bind

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

// A loop is an inner Bind that receives the same full batch for ever, and sends
// it nowhere: what it costs is what the anchor costs.
type loop struct {
	fakeInner
	size int
	eps  []conn.Endpoint
}

func newLoop(from ...string) *loop {
	l := &loop{size: 1400}
	l.batch = conn.IdealBatchSize
	for i := range l.batch {
		l.eps = append(l.eps, &conn.StdNetEndpoint{AddrPort: netip.MustParseAddrPort(from[i%len(from)])})
	}
	return l
}

func (l *loop) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	return []conn.ReceiveFunc{l.receive}, 1, nil
}

func (l *loop) Close() error { return nil }

func (l *loop) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	for i := range bufs {
		sizes[i], eps[i] = l.size, l.eps[i]
	}
	return len(bufs), nil
}

//go:noinline
func (l *loop) Send(bufs [][]byte, ep conn.Endpoint) error { return nil }

// A side is one way to pass a batch in and one out: bare or through a Bind.
type side struct {
	r    *reader
	send func() error
}

func (s *side) pass(tb testing.TB) {
	if n, err := s.r.read(); err != nil || n != conn.IdealBatchSize {
		tb.Fatal(n, err)
	}
	if err := s.send(); err != nil {
		tb.Fatal(err)
	}
}

func sides(tb testing.TB, from ...string) (bare, wrapped *side) {
	l := newLoop(from...)
	make1 := func(b conn.Bind, ep conn.Endpoint) *side {
		fns, _, err := b.Open(0)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { b.Close() })
		r := newReader(fns[0], l.batch)
		batch := make([][]byte, l.batch)
		for i := range batch {
			copy(r.bufs[i], transport(uint32(i), 0))
			batch[i] = r.bufs[i][:l.size]
		}
		return &side{r, func() error { return b.Send(batch, ep) }}
	}
	b := New(l, Config{})
	p := b.AddPeer("far")
	p.SetPaths(addr(addrA), addr(addrB))
	p.SetPath(addr(addrA)) // B stays known
	return make1(l, l.eps[0]), make1(b, p.ep)
}

func TestNoAllocationPerBatch(t *testing.T) {
	for name, from := range map[string][]string{
		"one known address":      {addrA},
		"known and unknown ones": {addrA, addrB, addrC},
	} {
		_, wrapped := sides(t, from...)
		if got := testing.AllocsPerRun(100, func() { wrapped.pass(t) }); got != 0 {
			t.Errorf("%s: %v allocations a batch, want 0", name, got)
		}
	}
}

// BenchmarkBind measures what a Bind adds to its inner Bind for a packet of a full
// batch received and sent: the median difference of alternating rounds. Run it
// with -benchtime 1x.
func BenchmarkBind(b *testing.B) {
	bare, wrapped := sides(b, addrA)
	const rounds, batches = 1001, 200
	round := func(s *side) float64 {
		start := time.Now()
		for range batches {
			s.pass(b)
		}
		return float64(time.Since(start).Nanoseconds()) / (batches * conn.IdealBatchSize)
	}
	for b.Loop() {
		var before, after runtime.MemStats
		var added, anchor []float64
		runtime.ReadMemStats(&before)
		for range rounds {
			n := round(bare)
			anchor = append(anchor, n)
			added = append(added, round(wrapped)-n)
		}
		runtime.ReadMemStats(&after)
		// The runtime itself allocates a little in so long a time.
		allocs := (after.Mallocs - before.Mallocs) / (rounds * batches * conn.IdealBatchSize)
		slices.Sort(added)
		slices.Sort(anchor)
		figure("tunnel/bind-ns", added[rounds/2], "ns", 25)
		figure("tunnel/bind-allocs", float64(allocs), "allocs", 0)
		fmt.Printf("bench tunnel/bind-inner-ns %.1f ns info - ok\n", anchor[rounds/2])
		b.ReportMetric(added[rounds/2], "ns/packet")
	}
}

func figure(name string, value float64, unit string, most float64) {
	verdict := "ok"
	if value > most {
		verdict = "short"
	}
	fmt.Printf("\nbench %s %.3g %s at-most %v %s\n", name, value, unit, most, verdict)
}
