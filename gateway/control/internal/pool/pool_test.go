package pool

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestRanges(t *testing.T) {
	for _, tc := range []struct {
		prefix                 string
		device, operator, node string
		devices                int
	}{
		{"10.166.0.0/16", "10.166.0.1", "10.166.192.0", "10.166.255.0", 49151},
		{"10.1.2.0/24", "10.1.2.1", "10.1.2.192", "10.1.2.224", 191},
		{"100.64.0.0/10", "100.64.0.1", "100.112.0.0", "100.127.255.0", 3145727},
	} {
		p, err := New(netip.MustParsePrefix(tc.prefix))
		if err != nil {
			t.Fatal(err)
		}
		for kind, want := range map[Kind]string{Device: tc.device, Operator: tc.operator, Node: tc.node} {
			if a, err := p.Take(kind, "x", time.Now()); err != nil || a.Addr.String() != want {
				t.Errorf("%s %s: %v, %v, want %s", tc.prefix, kind, a.Addr, err, want)
			}
		}
		if r := p.ranges[Device]; int(r.last-r.first+1) != tc.devices {
			t.Errorf("%s: %d devices, want %d", tc.prefix, r.last-r.first+1, tc.devices)
		}
	}
	for _, bad := range []string{"10.0.0.0/7", "10.0.0.0/25", "fd00::/16"} {
		if _, err := New(netip.MustParsePrefix(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestStickyAndRest(t *testing.T) {
	p, _ := New(netip.MustParsePrefix("10.1.2.0/24"))
	now := time.Now()
	first, _ := p.Take(Device, "a", now)
	p.Release(Device, "a", now)
	for i := range 190 {
		a, err := p.Take(Device, fmt.Sprint(i), now)
		if err != nil {
			t.Fatal(i, err)
		}
		if a.Addr == first.Addr {
			t.Fatalf("address of a given to %d", i)
		}
	}
	if _, err := p.Take(Device, "b", now.Add(Rest-time.Second)); !errors.Is(err, ErrExhausted) {
		t.Fatalf("an address at rest was given: %v", err)
	}
	if again, err := p.Take(Device, "a", now.Add(time.Hour)); err != nil || again.Addr != first.Addr {
		t.Fatalf("a got %v, %v, had %v", again.Addr, err, first.Addr)
	}
	p.Release(Device, "a", now.Add(time.Hour))
	b, err := p.Take(Device, "b", now.Add(time.Hour+Rest))
	if err != nil || b.Addr != first.Addr {
		t.Fatalf("b got %v, %v", b.Addr, err)
	}
	if _, ok := p.Of(Device, "a"); ok {
		t.Error("a still has it")
	}
	if _, err := p.Take(Device, "a", now.Add(1000*time.Hour)); !errors.Is(err, ErrExhausted) {
		t.Errorf("an address in use was given: %v", err)
	}
}

func TestLoad(t *testing.T) {
	p, _ := New(netip.MustParsePrefix("10.1.2.0/24"))
	now := time.Now()
	p.Load(Address{netip.MustParseAddr("10.1.2.1"), Device, "a", now}, false)
	p.Load(Address{netip.MustParseAddr("10.9.2.1"), Device, "far", now}, true)
	p.Load(Address{netip.MustParseAddr("10.1.2.2"), Node, "n", now}, true)
	if a, _ := p.Take(Device, "b", now); a.Addr.String() != "10.1.2.2" {
		t.Errorf("b got %v", a.Addr)
	}
	if a, ok := p.Of(Device, "a"); !ok || a.String() != "10.1.2.1" {
		t.Errorf("a has %v", a)
	}
	if _, ok := p.Of(Device, "far"); ok {
		t.Error("an address outside of the pool was taken over")
	}
}
