package sock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

const patience = time.Minute

// pair is a Leg and who is at its other end.
func pair(t *testing.T) (near net.Conn, leg Leg, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if far, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	if near, err = Listen(ln).Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	for _, c := range []net.Conn{near, far} {
		_ = c.SetDeadline(time.Now().Add(patience))
	}
	if leg = Of(near); leg == nil {
		t.Fatal("no Leg")
	}
	return near, leg, far
}

func record(r *rand.Rand, size int) []byte {
	b := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(size))
	for range size {
		b = append(b, byte(r.Uint32()))
	}
	return b
}

// However a stream comes in pieces and is asked for, it comes whole, and no Read brings
// more than a record, but after a large one.
func TestReadRecords(t *testing.T) {
	near, leg, far := pair(t)
	r := rand.New(rand.NewPCG(1, 2))
	var sent []byte
	ends, big := map[int]bool{0: true}, map[int]bool{}
	for i := range 400 {
		size := r.IntN(3000)
		if i%100 > 80 {
			size = r.IntN(16 << 10)
		}
		big[len(sent)] = size >= large
		sent = append(sent, record(r, size)...)
		ends[len(sent)] = true
	}
	go func() {
		cut := rand.New(rand.NewPCG(3, 4))
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), 1+cut.IntN(9000))
			if cut.IntN(2) == 0 {
				n = min(n, 1+cut.IntN(8))
			}
			far.Write(rest[:n])
			rest = rest[n:]
		}
		far.Close()
	}()
	var got []byte
	for buf := make([]byte, 8<<10); ; {
		if leg.Whole() && !ends[len(got)] {
			t.Fatalf("a whole record at %d, where none begins", len(got))
		}
		n, err := near.Read(buf[:1+r.IntN(len(buf))])
		last := len(got)
		for !ends[last] {
			last--
		}
		for i := len(got) + 1; i < len(got)+n; i++ {
			if ends[i] && !big[last] {
				t.Fatalf("a Read from %d to %d passes the end of a record", len(got), len(got)+n)
			}
		}
		got = append(got, buf[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came of %d", len(got), len(sent))
	}
}

func TestWhole(t *testing.T) {
	near, leg, far := pair(t)
	r := rand.New(rand.NewPCG(1, 2))
	three := append(append(record(r, 100), record(r, 100)...), record(r, 100)[:50]...)
	far.Write(three)
	buf := make([]byte, 1000)
	if leg.Whole() {
		t.Error("before anything was read")
	}
	n, err := near.Read(buf) // loopback brings one write at once
	if err != nil || n != 105 || !leg.Whole() {
		t.Errorf("the first: %d, %v, whole %v", n, err, leg.Whole())
	}
	if n, err = near.Read(buf); err != nil || n != 105 || leg.Whole() {
		t.Errorf("the second: %d, %v, whole %v", n, err, leg.Whole())
	}
	if n, err = near.Read(buf); err != nil || n != 50 || leg.Whole() || near.(*conn).in.buf != nil {
		t.Errorf("half of the third: %d, %v, whole %v", n, err, leg.Whole())
	}
}

// A Write that holds returns whatever happens; what is left comes first after it.
func TestHold(t *testing.T) {
	near, leg, far := pair(t)
	r := rand.New(rand.NewPCG(1, 2))
	var sent []byte
	left := false
	for i := 0; !left; i++ {
		if i == 10_000 {
			t.Fatal("the kernel takes everything")
		}
		b := record(r, 1000+r.IntN(15000))
		leg.Hold(true)
		for range 2 { // as a WebSocket writes one message
			if n, err := near.Write(b); err != nil || n != len(b) {
				t.Fatalf("%d, %v", n, err)
			}
			sent = append(sent, b...)
		}
		left = leg.Hold(false)
	}
	last := record(r, 5000)
	got := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(far)
		got <- b
	}()
	if err := leg.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Write(last); err != nil {
		t.Fatal(err)
	}
	near.Close()
	if b := <-got; !bytes.Equal(b, append(sent, last...)) {
		t.Errorf("%d bytes came of %d", len(b), len(sent)+len(last))
	}
}

// Close and a deadline end what waits.
func TestInterrupted(t *testing.T) {
	near, leg, _ := pair(t)
	_ = near.SetReadDeadline(time.Unix(1, 0))
	if _, err := near.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past the deadline: %v", err)
	}
	_ = near.SetReadDeadline(time.Time{})
	ended := make(chan error, 2)
	var written atomic.Int64
	go func() {
		_, err := near.Read(make([]byte, 10))
		ended <- err
	}()
	go func() {
		for b := make([]byte, 16<<10); ; {
			if _, err := near.Write(b); err != nil { // nobody reads
				ended <- err
				return
			}
			written.Add(1)
		}
	}()
	// Until nothing more fits, so that both wait. Should the machine pause them instead,
	// Close comes first, and they end the same way.
	for last := int64(-1); last != written.Load() || last == 0; time.Sleep(50 * time.Millisecond) {
		last = written.Load()
	}
	near.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	if err := leg.Flush(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestAllocatesNothing(t *testing.T) {
	near, leg, far := pair(t)
	b := record(rand.New(rand.NewPCG(1, 2)), 1300)
	buf := make([]byte, 4<<10)
	go func() {
		b := bytes.Clone(b)
		for {
			if _, err := io.ReadFull(far, b); err != nil {
				return
			}
			far.Write(b)
		}
	}()
	n := testing.AllocsPerRun(200, func() {
		leg.Hold(true)
		near.Write(b)
		leg.Hold(false)
		for got := 0; got < len(b); {
			n, err := near.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
	})
	if n >= 1 && !raceEnabled {
		t.Errorf("%v allocations for a packet there and back", n)
	}
}
