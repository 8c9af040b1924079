package bind

import (
	"testing"
	"time"
)

func TestCopies(t *testing.T) {
	c := newCopies()
	begin := time.Hour // a Bind's clock is 0 only when it begins
	for i, tt := range []struct {
		after time.Duration
		msg   []byte
		want  bool
	}{
		{0, initiation(1), false},
		{0, initiation(1), true},
		{0, initiation(2), false},
		{copyWindow - 1, initiation(1), true},
		{copyWindow, initiation(1), false}, // a repeat
		{repeats[0] + copyWindow, initiation(1), false},
		{repeats[0] + copyWindow, response(1, 2), false},
	} {
		if got := c.again(begin+tt.after, tt.msg); got != tt.want {
			t.Errorf("%d: a copy: %v, want %v", i, got, tt.want)
		}
	}
	if copyWindow >= repeats[0] {
		t.Error("it takes repeats for copies")
	}
}

// TestDeviceGetsOneCopy brings the same messages by an address and by a stream: the
// device gets one of each, and both legs are heard.
func TestDeviceGetsOneCopy(t *testing.T) {
	f := newFake()
	b := New(f, Config{})
	fns, _, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	udp, streams := newReader(fns[0], f.batch), newReader(fns[1], f.batch)
	p := b.AddPeer("far")
	c := newStreamEnd()
	defer close(c.cut)
	r := p.AddStream(c, nil)
	p.SetRoutes(r, At(addr(addrA)))
	for _, tt := range []struct {
		msg   []byte
		again bool
	}{
		{initiation(1), true},
		{response(1, 2), true},
		{cookie(1), false},
		{transport(1, 1), false},
	} {
		c.in <- tt.msg
		if n, err := streams.read(); n != 1 || err != nil || streams.sizes[0] != len(tt.msg) {
			t.Fatalf("by the stream: %d of %d bytes, %v", n, streams.sizes[0], err)
		}
		receive(t, f, udp, arrival{tt.msg, addrA})
		if got := udp.sizes[0] == 0; got != tt.again {
			t.Errorf("type %d: the copy is lost: %v, want %v", tt.msg[0], got, tt.again)
		}
	}
	// The other way round.
	receive(t, f, udp, arrival{initiation(9), addrA})
	c.in <- initiation(9)
	if n, err := streams.read(); n != 1 || err != nil || streams.sizes[0] != 0 || udp.sizes[0] == 0 {
		t.Errorf("a copy by the stream has %d bytes, %v", streams.sizes[0], err)
	}
	for _, r := range []Route{r, At(addr(addrA))} {
		if n, _ := p.Heard(r); n != 5 {
			t.Errorf("heard %d, want 5", n)
		}
	}
	if got := p.Stats().RxBytes; got != 2*uint64(148+92+64+32)+2*148 {
		t.Errorf("%d bytes received", got)
	}
}
