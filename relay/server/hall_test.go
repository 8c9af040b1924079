package server

import (
	"net/netip"
	"testing"
)

func TestHall(t *testing.T) {
	h := newHall(4, 3)
	var shown []string // who was shown out
	leaves := map[string]func(){}
	enter := func(name, from string) bool {
		leave, ok := h.enter(netip.MustParsePrefix(from), func() { shown = append(shown, name) })
		leaves[name] = leave
		return ok
	}
	for _, tc := range []struct {
		name, from string
		in         bool
		out        string // makes room
	}{
		{"a1", "2001:db8:1:1::/64", true, ""},
		{"a2", "2001:db8:1:1::/64", true, ""},
		{"a3", "2001:db8:1:2::/64", true, ""}, // another network of the same customer
		{"b1", "192.0.2.1/32", true, ""},
		{"b2", "192.0.2.1/32", true, "a1"},
		{"b3", "192.0.2.1/32", false, ""}, // it would be the largest crowd itself
		{"a4", "2001:db8:1:3::/64", false, ""},
	} {
		before := len(shown)
		if in := enter(tc.name, tc.from); in != tc.in {
			t.Errorf("%s: let in %v", tc.name, in)
		}
		out := ""
		if len(shown) > before {
			out = shown[before]
		}
		if out != tc.out || len(shown) > before+1 {
			t.Errorf("%s: %v were shown out, want %q", tc.name, shown[before:], tc.out)
		}
		if h.count() > 4 {
			t.Fatalf("%s: %d are there", tc.name, h.count())
		}
	}
	for _, leave := range leaves {
		if leave != nil {
			leave()
		}
	}
	if h.count() != 0 || len(h.crowds) != 0 {
		t.Errorf("%d are left, %v", h.count(), h.crowds)
	}
}

// Whoever has all the places that one address gets pushes nobody out.
func TestHallPerAddress(t *testing.T) {
	h := newHall(3, 1)
	for _, from := range []string{"192.0.2.1/32", "2001:db8::/64", "2001:db8:0:1::/64"} {
		if _, ok := h.enter(netip.MustParsePrefix(from), func() { t.Errorf("%s was shown out", from) }); !ok {
			t.Fatalf("%s was refused", from)
		}
	}
	if _, ok := h.enter(netip.MustParsePrefix("192.0.2.1/32"), func() {}); ok {
		t.Error("a second one from one address came in")
	}
}
