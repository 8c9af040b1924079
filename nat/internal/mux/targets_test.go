package mux

import (
	"net/netip"
	"testing"
	"time"
)

func TestTargets(t *testing.T) {
	now := time.Now()
	at := func(i, port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), uint16(port))
	}
	sent := func(x *targets, to netip.AddrPort, asked int) (n int) {
		for range asked {
			if x.may(to, now) {
				n++
			}
		}
		return n
	}
	var x targets
	// The count of an address goes on over what asks, until the address is heard.
	if n := sent(&x, at(1, 1), eager+50); n != eager+10 {
		t.Errorf("%d of %d to a silent address", n, eager+50)
	}
	x.hear(at(1, 1), now)
	if n := sent(&x, at(1, 1), eager); n != eager {
		t.Errorf("%d of %d to one that was heard", n, eager)
	}
	// A few ports of an address, and those that were heard besides.
	ports := 0
	for port := 2; port < 100; port++ {
		ports += min(1, sent(&x, at(1, port), 20))
	}
	if ports != portsMost {
		t.Errorf("%d ports of one address", ports)
	}
	x.hear(at(1, 99), now)
	if n := sent(&x, at(1, 99), eager); n != eager {
		t.Errorf("%d of %d to a fifth port that was heard", n, eager)
	}
	// Addresses without end.
	for i := 2; i < 2*targetsMost; i++ {
		x.may(at(i, 1), now)
	}
	if len(x.known) != targetsMost {
		t.Errorf("%d are known", len(x.known))
	}
	if n := sent(&x, at(3*targetsMost, 1), 50); n != 10 {
		t.Errorf("%d of 50 to what does not fit", n)
	}
	x.hear(at(3*targetsMost, 1), now)
	if n := sent(&x, at(3*targetsMost, 1), eager); n != eager || len(x.known) != targetsMost {
		t.Errorf("%d of %d to it once it is heard, %d known", n, eager, len(x.known))
	}
	now = now.Add(targetFor)
	if n := sent(&x, at(1, 50), eager); n != eager || len(x.known) != 1 {
		t.Errorf("%d of %d after a pause, %d known", n, eager, len(x.known))
	}
}
