package netstack

import (
	"errors"
	"os"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// write gives the link one packet, and reports whether that was taken.
func write(t *testing.T, l *link, pkt *stack.PacketBuffer) bool {
	t.Helper()
	var list stack.PacketBufferList
	list.PushBack(pkt)
	n, err := l.WritePackets(list)
	pkt.DecRef()
	if err != nil {
		t.Fatal(err)
	}
	return n == 1
}

// What waits is bounded, in bytes and in packets, and leaves in order.
func TestLinkIsBounded(t *testing.T) {
	const mss = 1000
	for _, size := range []int{0, mss, 50 * mss} {
		l := newLink(1280)
		taken := 0
		for write(t, l, given(false, header.TCPFlagAck, uint32(taken), payloadOf(size), mss)) {
			taken++
		}
		cost := size + packetCost + header.IPv4MinimumSize + header.TCPMinimumSize + len(options)
		if taken != queueBytes/cost || l.waiting() != taken {
			t.Errorf("%d packets of %d bytes wait, want %d", taken, size, queueBytes/cost)
		}
		for i := range taken + 10 {
			pkt := l.take()
			if got := header.TCP(pkt.TransportHeader().Slice()).SequenceNumber(); got != uint32(i) {
				t.Fatalf("packet %d comes as number %d", got, i)
			}
			pkt.DecRef()
			// The ring goes round.
			if !write(t, l, given(false, header.TCPFlagAck, uint32(taken+i), payloadOf(size), mss)) {
				t.Fatal("no room for one")
			}
		}
		l.Close()
		var list stack.PacketBufferList
		_, err := l.WritePackets(list)
		if _, ok := err.(*tcpip.ErrClosedForSend); !ok || l.waiting() != 0 || l.take() != nil {
			t.Errorf("after Close %v, and %d wait", err, l.waiting())
		}
	}
}

// TestReadKeepsTogether checks that what TCP gave at once is spread over two batches
// only when it fits into none.
func TestReadKeepsTogether(t *testing.T) {
	const mss = 500
	d := newDevice(1280, idealBatch)
	defer d.link.Close()
	for _, segments := range []int{3, 4, 2, 9, 1} {
		write(t, d.link, given(false, header.TCPFlagAck, 0, payloadOf(segments*mss), mss))
	}
	bufs, sizes := make([][]byte, 8), make([]int, 8)
	for i := range bufs {
		bufs[i] = make([]byte, 2000)
	}
	for i, want := range []int{7, 2, 8, 2} {
		if n, err := d.Read(bufs, sizes, 16); n != want || err != nil {
			t.Fatalf("read %d: %d, %v, want %d", i, n, err, want)
		}
	}
	d.Wake()
	if n, err := d.Read(bufs, sizes, 16); n != 0 || err != nil {
		t.Errorf("woken with %d, %v", n, err)
	}
	write(t, d.link, given(false, header.TCPFlagAck, 0, payloadOf(9*mss), mss))
	if n, err := d.Read(bufs, sizes, 16); n != 8 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	_ = d.Close() // with one segment left
	if n, err := d.Read(bufs, sizes, 16); n != 0 || !errors.Is(err, os.ErrClosed) || d.splitter.pkt != nil {
		t.Errorf("after Close %d, %v", n, err)
	}
}
