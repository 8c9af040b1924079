package server

import (
	"net"
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	for name, tc := range map[string]struct {
		rate  float64 // bytes/s
		loses bool
	}{
		"fast":  {2_500_000, false},
		"slow":  {125_000, false},
		"crawl": {1_000, true}, // slower than its pauses
	} {
		b := bucket{rate: tc.rate}
		now, passed, lost := time.Duration(0), 0, false
		const span = 10 * time.Minute
		for now < span {
			n := 16 << 10
			if b.shut(now) {
				n, lost = 0, true
			}
			passed += n
			now += b.take(n) + 100*time.Microsecond
		}
		if lost != tc.loses {
			t.Errorf("%s: lost %v", name, lost)
		}
		want := tc.rate*span.Seconds() + burst
		if got := float64(passed); got > want*1.01+tc.rate || got < want*0.9-burst {
			t.Errorf("%s: %.0f bytes in %v, want %.0f", name, got, span, want)
		}
	}
	var none bucket
	if none.shut(time.Hour) || none.take(1<<30) != 0 || none.shut(time.Hour) {
		t.Error("no rate holds somebody up")
	}
}

func TestDoor(t *testing.T) {
	d := door{max: 3, perIP: 2}
	from := func(text string) bool {
		a, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		return d.enter(source(a))
	}
	for _, tc := range []struct {
		addr string
		in   bool
	}{
		{"[2001:db8::1]:1", true},
		{"[2001:db8::2]:1", true},
		{"[2001:db8::3]:1", false}, // the same /64
		{"192.0.2.1:1", true},
		{"192.0.2.2:1", false}, // none is left
	} {
		if in := from(tc.addr); in != tc.in {
			t.Errorf("%s: %v", tc.addr, in)
		}
	}
	a, _ := net.ResolveTCPAddr("tcp", "[::ffff:192.0.2.1]:9")
	d.leave(source(a)) // the IPv4 address it stands for
	d.leave(source(&net.TCPAddr{IP: net.ParseIP("2001:db8::9")}))
	if d.count() != 1 || len(d.from) != 1 {
		t.Errorf("%d are in, from %v", d.count(), d.from)
	}
	// Those in the relay's own process are at no address, and bounded in all.
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	roomy := door{max: 3, perIP: 1}
	for i := range 4 {
		if in := roomy.enter(source(far.RemoteAddr())); in != (i < 3) {
			t.Errorf("pipe %d: %v", i, in)
		}
	}
}
