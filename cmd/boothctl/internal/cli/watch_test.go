package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/signaling"
)

// streamed answers with events, and then refuses, which ends whoever follows.
func streamed(events ...client.DeviceEvents) http.HandlerFunc {
	calls := 0
	return func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls > 1 {
			refuse(http.StatusUnauthorized, "unauthenticated", "the token is gone")(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range events {
			b, _ := json.Marshal(e)
			fmt.Fprintf(w, "event: devices\nid: 1\ndata: %s\n\n", b)
		}
	}
}

func TestDevicesWatch(t *testing.T) {
	device := func(id, group, online string, state signaling.State) client.Device {
		return client.Device{ID: id, Group: group, Online: online, State: state, Version: evil, Foreign: evil}
	}
	serve := func() http.HandlerFunc {
		return streamed(
			client.DeviceEvents{Reset: true, More: true, Devices: []client.Device{device("kiosk-1", "north", "online", "connected")}},
			client.DeviceEvents{Devices: []client.Device{device("kiosk-2", "north", "late", ""), device("kiosk-3", "south", "online", "")}},
			client.DeviceEvents{Devices: []client.Device{device("kiosk-1", "north", "online", "connected")}}, // heard, no more
			client.DeviceEvents{Devices: []client.Device{device("kiosk-1", "south", "online", "connected")}},
			client.DeviceEvents{Gone: []string{"kiosk-3"}},
			client.DeviceEvents{Reset: true, Devices: []client.Device{device("kiosk-1", "north", "unknown", "")}},
		)
	}
	got := ctl(t, serve(), "devices", "--watch", "--group", "north")
	var lines []string
	for line := range strings.Lines(got.out) {
		if len(line) < 10 || line[2] != ':' {
			t.Fatalf("a line without a time: %q", line)
		}
		f := strings.Fields(line)
		lines = append(lines, strings.Join(f[1:min(4, len(f))], " "))
	}
	want := "kiosk-1 online connected|kiosk-2 late -|kiosk-1 gone|kiosk-1 unknown -|kiosk-2 gone"
	if text := strings.Join(lines, "|"); text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if strings.ContainsAny(got.out, "\x1b\a\u202e\u0085") || got.code != exitFailed || !strings.Contains(got.err, "unauthenticated") {
		t.Errorf("got %+v", got)
	}
	got = ctl(t, serve(), "devices", "--watch", "--json", "--match", "kiosk-3")
	if strings.Count(got.out, "\n") != 4 || !strings.Contains(got.out, `"gone":["kiosk-3"]`) || strings.Contains(got.out, "kiosk-1") {
		t.Errorf("got %s", got.out)
	}
}
