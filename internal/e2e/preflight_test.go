//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/boothwire/boothwire/gateway/control/client"
)

// preflight sees what the kiosk found of its host at control, asks its agent again on the
// kiosk, and for one that offers what nothing serves.
func (w *world) preflight() {
	w.t.Helper()
	want := map[string]string{"ssh": "ok listening 127.0.0.1:22", "rdp": "warn refused 127.0.0.1:3389", "rdp_settings": "unknown not_here",
		"addresses": "ok clear 10.166.0.0/16", "driver": "ok none_needed"}
	compare := func(list []client.Check) error {
		said := make(map[string]string)
		for _, c := range list {
			said[c.Check] = strings.TrimSpace(c.State + " " + c.Code + " " + c.Detail)
		}
		for check, text := range want {
			if said[check] != text {
				return fmt.Errorf("%s: %q, want %q of %v", check, said[check], text, list)
			}
		}
		return nil
	}
	eventually(w.t, "what the kiosk found of its host", func() error {
		var d client.Device
		if err := json.Unmarshal([]byte(w.ctl("devices", "show", kiosk, "--json")), &d); err != nil {
			return err
		}
		return compare(d.Preflight)
	})
	if shown := w.ctl("devices", "show", kiosk); !strings.Contains(shown, "Nothing listens there. (127.0.0.1:3389)") {
		w.t.Errorf("boothctl shows\n%s", shown)
	}

	bin := program(w.t, "boothwire-agent")
	var found []client.Check
	if err := json.Unmarshal([]byte(w.kiosk.Run(bin, "-config", w.agentConfig, "preflight", "-json")), &found); err != nil {
		w.t.Fatal(err)
	}
	if err := compare(found); err != nil {
		w.t.Errorf("on the kiosk: %v", err)
	}
	text, err := os.ReadFile(w.agentConfig)
	if err != nil {
		w.t.Fatal(err)
	}
	none := w.agentConfig + ".none"
	w.write(none, "ports = [\"tcp/23\"]\n"+string(text))
	cmd := w.kiosk.Command(context.Background(), bin, "-config", none, "preflight")
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "not ready for sessions: tcp_23") {
		w.t.Errorf("a host that offers nothing: %v\n%s", err, out)
	}
}
