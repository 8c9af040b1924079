package userspace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/packet"
)

const (
	proofAddr = "10.166.0.1"
	devAddr   = "10.166.1.1"
	opAddr    = "10.166.200.1"
)

func session(id string) reach.Session {
	return reach.Session{
		ID:        id,
		Device:    reach.Device{Key: [32]byte{1}, Addresses: []netip.Addr{netip.MustParseAddr(devAddr)}},
		Operators: []reach.Operator{{Key: [32]byte{2}, Address: netip.MustParseAddr(opAddr), Ports: []reach.Port{{Proto: packet.TCP, Number: 22}}}},
		End:       time.Now().Add(time.Hour),
	}
}

func newTestRouter(t testing.TB) (*router, *reach.Tally) {
	t.Helper()
	tally := &reach.Tally{}
	table := reach.NewTable(netip.MustParseAddr(proofAddr), tally, nil)
	s := session("one")
	if err := table.Set(&s); err != nil {
		t.Fatal(err)
	}
	r := newRouter(table, tally, DefaultMTU, 0)
	n, _ := table.Number("one")
	r.queue.set(n, 0, 0)
	return r, tally
}

// offset is where wireguard-go has packets begin.
const offset = device.MessageTransportOffsetContent

// segment is a TCP segment of size bytes in a buffer of wireguard-go's.
func segment(src, dst string, sport, dport uint16, size int) []byte {
	b := packet.AppendEcho(make([]byte, offset, offset+size), netip.MustParseAddr(src), netip.MustParseAddr(dst), 0, 0, nil, size)
	ip := b[offset:]
	clear(ip[20:])
	ip[9] = packet.TCP
	binary.BigEndian.PutUint16(ip[10:], 0)
	binary.BigEndian.PutUint16(ip[10:], packet.Checksum(ip[:20], 0))
	binary.BigEndian.PutUint16(ip[20:], sport)
	binary.BigEndian.PutUint16(ip[22:], dport)
	ip[32], ip[33] = 0x50, packet.ACK
	return b
}

// drain reads all that waits.
func drain(t testing.TB, r *router, want int) [][]byte {
	t.Helper()
	var got [][]byte
	bufs, sizes := make([][]byte, 128), make([]int, 128)
	for i := range bufs {
		bufs[i] = make([]byte, 2048)
	}
	for len(got) < want {
		n, err := r.Read(bufs, sizes, offset)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			got = append(got, bytes.Clone(bufs[i][offset:][:sizes[i]]))
		}
	}
	return got
}

func TestRouter(t *testing.T) {
	r, tally := newTestRouter(t)
	echo := packet.AppendEcho(make([]byte, offset), netip.MustParseAddr(devAddr), netip.MustParseAddr(proofAddr), 7, 9, []byte("proof"), 1280)
	out := segment(opAddr, devAddr, 40000, 22, 1280)
	bufs := [][]byte{
		echo,
		segment(opAddr, devAddr, 40000, 23, 100), // not granted
		out,
		segment(devAddr, opAddr, 22, 40000, 60),
		segment(opAddr, devAddr, 40000, 22, 1281), // beyond the MTU
	}
	if n, err := r.Write(bufs, offset); n != len(bufs) || err != nil {
		t.Fatal(n, err)
	}
	got := drain(t, r, 3)
	if len(got) != 3 {
		t.Fatalf("%d packets", len(got))
	}
	var p packet.Info
	if !packet.Parse(got[0], &p) || !p.IsEchoReply() || p.Dst.String() != devAddr || p.ID != 7 || p.Seq != 9 || len(got[0]) != 1280 || !packet.EchoValid(got[0], &p) {
		t.Errorf("the echo's reply: %+v", p)
	}
	slices.SortFunc(got[1:], func(a, b []byte) int { return len(b) - len(a) }) // the two directions take turns
	for i, from := range []string{opAddr, devAddr} {
		b := got[1+i]
		if !packet.Parse(b, &p) || p.Src.String() != from || p.TTL != 63 || packet.Checksum(b[:20], 0) != 0 {
			t.Errorf("forwarded: %+v", p)
		}
	}
	if !bytes.Equal(got[1][20:], out[offset+20:]) {
		t.Error("the payload changed")
	}
	if tally.Count(reach.Oversized) != 1 || tally.Count(reach.PortNotGranted) != 1 {
		t.Errorf("drops: %v", tally.Drops())
	}
	done := make(chan error)
	go func() {
		_, err := r.Read([][]byte{make([]byte, 2048)}, make([]int, 1), offset)
		done <- err
	}()
	r.Close()
	r.Close()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("a read through Close: %v", err)
	}
	if n, err := r.Write(bufs, offset); n != len(bufs) || err != nil {
		t.Error("a write after Close is no error of the peer's", n, err)
	}
}

func TestQueueFull(t *testing.T) {
	r, tally := newTestRouter(t)
	defer r.Close()
	const most, rounds = 1024, 8 // most of one session's, in one direction
	bufs := make([][]byte, 145)  // more than a batch, too
	for round := range rounds {
		for i := range bufs {
			bufs[i] = segment(opAddr, devAddr, 40000, 22, 100+rounds*i+round)
		}
		r.Write(bufs, offset)
	}
	if got := tally.Count(reach.QueueFull); got != uint64(rounds*len(bufs)-most) {
		t.Errorf("%d dropped, want %d", got, rounds*len(bufs)-most)
	}
	got := drain(t, r, most)
	for i, b := range got { // in order, and the oldest are gone
		n := rounds*len(bufs) - most + i
		if len(b) != 100+rounds*(n%len(bufs))+n/len(bufs) {
			t.Fatalf("packet %d has %d bytes", i, len(b))
		}
	}
	r.Write(bufs, offset)
	drain(t, r, len(bufs))
}

func TestForwardAllocatesNothing(t *testing.T) {
	r, _ := newTestRouter(t)
	defer r.Close()
	forward, _ := forwarder(r)
	if n := testing.AllocsPerRun(100, forward); n != 0 {
		t.Errorf("%v allocations for %d packets", n, conn.IdealBatchSize)
	}
}

// forwarder returns a func that sends a batch of full packets through r, half of them
// from each end.
func forwarder(r *router) (func(), int) {
	in, out := make([][]byte, conn.IdealBatchSize), make([][]byte, conn.IdealBatchSize)
	sizes := make([]int, conn.IdealBatchSize)
	half := len(in) / 2
	for i := range in {
		in[i] = segment(opAddr, devAddr, 40000, 22, 1280)
		if i >= half {
			in[i] = segment(devAddr, opAddr, 22, 40000, 1280)
		}
		out[i] = make([]byte, 65535)
	}
	return func() {
		r.Write(in[:half], offset)
		r.Write(in[half:], offset)
		if n, err := r.Read(out, sizes, offset); n != len(in) || err != nil {
			panic("lost packets")
		}
	}, len(in)
}

func BenchmarkForward(b *testing.B) {
	r, _ := newTestRouter(b)
	defer r.Close()
	forward, n := forwarder(r)
	b.SetBytes(int64(n) * 1280)
	b.ReportAllocs()
	for b.Loop() {
		forward()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/packet")
}

// FuzzRouter: whatever bytes a peer sends, what comes out is whole, and is either
// between operator and device or a reply to the sender's echo.
func FuzzRouter(f *testing.F) {
	f.Add(segment(opAddr, devAddr, 40000, 22, 60)[offset:])
	f.Add(packet.AppendEcho(nil, netip.MustParseAddr(devAddr), netip.MustParseAddr(proofAddr), 7, 9, nil, 64))
	f.Add(segment(devAddr, opAddr, 22, 40000, 60)[offset:])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, tally := newTestRouter(t)
		defer r.Close()
		buf := append(make([]byte, offset), b...)
		r.Write([][]byte{buf, buf}, offset)
		want := 0
		if len(b) <= DefaultMTU {
			want = int(tally.Count(reach.Pass) + tally.Count(reach.Answer))
		}
		n := r.queue.packets.Len()
		if n > want {
			t.Fatalf("%d packets out, %d allowed", n, want)
		}
		if n == 0 {
			return
		}
		for _, out := range drain(t, r, n) {
			var was, now packet.Info
			if !packet.Parse(b, &was) || !packet.Parse(out, &now) {
				t.Fatal("malformed out")
			}
			if now.IsEchoReply() && now.Src.String() == proofAddr {
				if now.Dst != was.Src || !was.IsEchoRequest() {
					t.Fatalf("an answer to %+v", was)
				}
				continue
			}
			if now.Src != was.Src || now.Src.String() != opAddr || now.Dst.String() != devAddr || now.TTL != was.TTL-1 {
				t.Fatalf("%+v became %+v", was, now)
			}
		}
	})
}
