package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/tunnel"
)

func TestMover(t *testing.T) {
	m := mover{told: tunnel.Relay}
	for _, tt := range []struct {
		path      tunnel.PathKind
		why, want string
	}{
		{"", "", ""},
		{tunnel.Relay, "relay", ""},
		{tunnel.Relay, "relay: direct failed no_path (symmetric here, symmetric there; tried 1 host x 1 host)", "path: relay (direct failed no_path (symmetric here, symmetric there; tried 1 host x 1 host))"},
		{tunnel.Relay, "relay: direct failed no_path (symmetric here, symmetric there; tried 1 host x 1 host)", ""},
		{tunnel.Direct, "direct: srflx-host 23 ms", "path: relay -> direct (srflx-host 23 ms)"},
		{tunnel.Direct, "direct: srflx-host open/symmetric 23 ms", "path: direct (srflx-host open/symmetric 23 ms)"},
		{tunnel.Direct, "", ""},
		{tunnel.Relay, "", "path: direct -> relay"},
	} {
		if got := m.line(tt.path, tt.why); got != tt.want {
			t.Errorf("%s, %q: %q, want %q", tt.path, tt.why, got, tt.want)
		}
	}
}

func TestSpent(t *testing.T) {
	for _, tt := range []struct {
		direct, relay time.Duration
		want          string
	}{
		{0, 0, ""},
		{0, 900 * time.Millisecond, ""},
		{90 * time.Second, 0, "direct 1m30s"},
		{90*time.Second + 300*time.Millisecond, 3 * time.Second, "direct 1m30s, relay 3s"},
	} {
		if got := spent(tt.direct, tt.relay); got != tt.want {
			t.Errorf("%v, %v: %q, want %q", tt.direct, tt.relay, got, tt.want)
		}
	}
}

// A session tells its path and why, in the table, alone and as JSON.
func TestSessionPath(t *testing.T) {
	s := client.Session{
		ID: "s1", Device: "kiosk-1", State: client.Connected, Path: "direct", PathWhy: "direct: srflx-srflx port-restricted/symmetric\x1b[2J 23 ms",
		EndToEnd: true, Paths: client.PathTimes{Direct: 90, Relay: 3}, Rx: 2048, Tx: 1024, RTT: 23000,
		Operators: []client.Operator{{User: "ann"}}, Ladder: []client.Step{{Stage: "ready", After: 41000, By: client.ByDevice}},
	}
	got := ctl(t, answer(page(s)), "sessions")
	for _, want := range []string{"PATH", "WHY", "direct", "srflx-srflx port-restricted/symmetric?[2J 23 ms", "2.0 KiB", "1.0 KiB", "ann"} {
		if got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("no %q in %+v", want, got)
		}
	}
	got = ctl(t, answer(s), "sessions", "show", "s1")
	for _, want := range []string{"direct", "port-restricted/symmetric?[2J", "direct 1m30s, relay 3s", "2.0 KiB", "ready after 41ms", "end to end"} {
		if got.code != 0 || !strings.Contains(got.out, want) || strings.Contains(got.out, "\x1b") {
			t.Errorf("no %q in %+v", want, got)
		}
	}
	var back client.Session
	got = ctl(t, answer(s), "sessions", "show", "s1", "--json")
	if err := json.Unmarshal([]byte(got.out), &back); err != nil || back.Paths != s.Paths || back.PathWhy != s.PathWhy {
		t.Errorf("%v: %+v", err, got)
	}
}
