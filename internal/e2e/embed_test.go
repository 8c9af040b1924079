//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestKioskEmbed runs the kiosk application of examples/kiosk-embed, which hands
// its own MQTT connection to the agent, in the agent's place.
func TestKioskEmbed(t *testing.T) {
	w := prepare(t, options{})
	var trust struct{ Roots []string }
	if err := json.Unmarshal([]byte(w.ctl("trust", "--json")), &trust); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{
		"ID": kiosk, "State": filepath.Join(w.dir, "booth"), "Broker": "mqtts://" + addrBroker + ":8883", "CA": w.ca.File,
		"Username": kiosk, "Password": "secret-" + kiosk, "Roots": trust.Roots, "Services": map[string]string{"tcp/22": "127.0.0.1:22"},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.dir, "booth.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	booth := start(t, w.kiosk, program(t, "kiosk-embed"), file)
	booth.waitLog(0, "register it")
	key := regexp.MustCompile(`identity (\S{44}):`).FindStringSubmatch(booth.log.String())
	if key == nil {
		t.Fatalf("no identity in %q", booth.log.String())
	}
	w.ctl("devices", "add", kiosk, key[1])
	w.waitOnline()
	if got := w.ssh("echo", "hello"); !strings.Contains(got, "hello") {
		t.Errorf("ssh printed %q", got)
	}
	w.over()
	for _, want := range []string{"open to [", "light on", "closed to [", "light off"} {
		booth.waitLog(0, want)
	}
	booth.stop()
}
