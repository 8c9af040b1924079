package tunnel

import (
	"testing"
	"time"
)

func TestSpending(t *testing.T) {
	const s = time.Second
	var c spending
	c.turn("", 5*s)
	if got := c.until(60 * s); got != (PathTimes{}) {
		t.Errorf("before there is a path: %v", got)
	}
	c.turn(Relay, 10*s)
	c.turn(Direct, 13*s)
	c.turn(Relay, 73*s)
	if got, want := c.until(75*s), (PathTimes{Direct: 60 * s, Relay: 5 * s}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	c.turn("", 80*s)
	if got, want := c.until(999*s), (PathTimes{Direct: 60 * s, Relay: 10 * s}); got != want {
		t.Errorf("at the end: got %v, want %v", got, want)
	}
}

func TestWhyPath(t *testing.T) {
	relay := Way{Kind: Relay, State: WayCarrying}
	failed := "port-restricted here, symmetric there; tried 2 host 1 srflx x 1 host 1 srflx"
	for _, tt := range []struct {
		name   string
		policy Policy
		kind   PathKind
		ways   []Way
		want   string
	}{
		{name: "nothing yet", want: ""},
		{name: "direct", kind: Direct, ways: []Way{relay, {Kind: Direct, State: WayCarrying, Why: "srflx-srflx port-restricted/symmetric", RTT: 23 * time.Millisecond}},
			want: "direct: srflx-srflx port-restricted/symmetric 23 ms"},
		{name: "direct that says nothing", kind: Direct, ways: []Way{{Kind: Direct, State: WayCarrying}}, want: "direct"},
		{name: "by policy", policy: RelayOnly, kind: Relay, ways: []Way{relay}, want: "relay: by policy"},
		{name: "the first attempt", kind: Relay, ways: []Way{relay, {Kind: Direct, State: WayOpening}}, want: "relay: direct opening"},
		{name: "failed", kind: Relay, ways: []Way{relay, {Kind: Direct, State: WayFailed, Code: "no_path", Why: failed}},
			want: "relay: direct failed no_path (" + failed + ")"},
		{name: "the next attempt", kind: Relay, ways: []Way{relay, {Kind: Direct, State: WayOpening, Code: "no_path", Why: failed}},
			want: "relay: direct failed no_path (" + failed + ")"},
		{name: "left", kind: Relay, ways: []Way{relay, {Kind: Direct, State: WayLeft, Code: "no_reply", Why: "host-host open/open"}},
			want: "relay: direct left no_reply (host-host open/open)"},
		{name: "better for now", kind: Relay, ways: []Way{relay, {Kind: Direct, State: WayReady, Why: "host-host"}}, want: "relay: direct ready"},
		{name: "alone", kind: Relay, ways: []Way{relay}, want: "relay"},
	} {
		if got := whyPath(tt.policy, tt.kind, tt.ways); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
