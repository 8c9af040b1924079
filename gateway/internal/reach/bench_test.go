package reach

import (
	"testing"

	"github.com/boothwire/boothwire/internal/packet"
)

// batch is a conversation's packets, both ways, as wireguard-go hands them over.
func batch(n int) [][]byte {
	out := append(make([]byte, 16), build{src: op1, dst: dev1, proto: packet.TCP, sport: 40000, dport: 22, flags: packet.ACK, size: 1280}.bytes()...)
	in := append(make([]byte, 16), build{src: dev1, dst: op1, proto: packet.TCP, sport: 22, dport: 40000, flags: packet.ACK, size: 1280}.bytes()...)
	list := make([][]byte, n)
	for i := range list {
		list[i] = [][]byte{out, in}[i%2]
	}
	return list
}

func TestFilterAllocatesNothing(t *testing.T) {
	table, _ := newTable(t, nil)
	bufs, out := batch(128), make([]Verdict, 128)
	if n := testing.AllocsPerRun(100, func() { table.Filter(bufs, 16, epoch, out) }); n != 0 {
		t.Errorf("%v allocations for 128 packets", n)
	}
	if out[0].Reason != Pass || out[127].Reason != Pass {
		t.Error(out[0], out[127])
	}
}

func BenchmarkFilter(b *testing.B) {
	table, _ := newTable(b, nil)
	bufs, out := batch(128), make([]Verdict, 128)
	b.ReportAllocs()
	for b.Loop() {
		table.Filter(bufs, 16, epoch, out)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/128, "ns/packet")
}
