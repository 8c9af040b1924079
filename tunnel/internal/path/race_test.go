package path

import (
	"net/netip"
	"testing"
	"time"
)

var (
	a = netip.MustParseAddrPort("192.0.2.1:51820")
	b = netip.MustParseAddrPort("192.0.2.2:51820")
	c = netip.MustParseAddrPort("[2001:db8::1]:51820")
	x = netip.MustParseAddrPort("198.51.100.7:1234")
	n netip.AddrPort
)

func check(t *testing.T, r *Race[netip.AddrPort], primary, also netip.AddrPort) {
	t.Helper()
	if p, s := r.Paths(); p != primary || s != also {
		t.Errorf("paths %v and %v, want %v and %v", p, s, primary, also)
	}
}

func TestRace(t *testing.T) {
	var r Race[netip.AddrPort]
	if r.Step(1) || r.Next() != 0 {
		t.Error("no address, and something to do")
	}
	check(t, &r, n, n)
	r.SetRoutes([]netip.AddrPort{a, b, c, b})
	if !r.Step(1) {
		t.Error("the first step changes nothing")
	}
	check(t, &r, a, n)
	if r.Step(Patience) || r.Next() != 1+Patience {
		t.Errorf("next at %v", r.Next())
	}
	now := 1 + Patience
	for _, want := range []netip.AddrPort{b, c, b, c} {
		if !r.Step(now) {
			t.Error("nothing changed")
		}
		check(t, &r, a, want)
		now += Patience
	}
	if !r.Answered(b) {
		t.Error("a winner changes nothing")
	}
	check(t, &r, b, n)
	if r.Answered(b) || r.Step(now+time.Hour) || r.Next() != 0 {
		t.Error("a won race goes on")
	}
	r.SetRoutes([]netip.AddrPort{c, b})
	check(t, &r, b, n)
	r.Lost(now)
	if !r.Step(now) {
		t.Error("a lost path is alone")
	}
	check(t, &r, b, c)
	r.SetRoutes([]netip.AddrPort{a})
	check(t, &r, a, n)
}

func TestFarEndMoves(t *testing.T) {
	var r Race[netip.AddrPort]
	r.SetRoutes([]netip.AddrPort{a})
	r.Step(1)
	r.Answered(a)
	if !r.Answered(x) {
		t.Error("nothing changed")
	}
	check(t, &r, x, n)
	r.Lost(time.Second)
	r.Step(time.Second)
	check(t, &r, x, a)
}

func TestOneAddress(t *testing.T) {
	var r Race[netip.AddrPort]
	r.SetRoutes([]netip.AddrPort{a})
	r.Step(1)
	if r.Step(time.Hour) || r.Next() != 0 {
		t.Error("one address, and something to try")
	}
	var called Race[netip.AddrPort] // an end that waits to be called
	called.Answered(x)
	called.Lost(time.Second)
	if called.Step(time.Hour) || called.Next() != 0 {
		t.Error("no address, and something to try")
	}
	check(t, &called, x, n)
}
