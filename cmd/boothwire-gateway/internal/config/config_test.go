package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/internal/relayd"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/internal/testca"
)

// load reads the example, all of its fields switched on, with one line changed.
func load(t *testing.T, old, changed string) (c *Config, line int, err error) {
	t.Helper()
	example, err := os.ReadFile(filepath.Join("..", "..", "example.toml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := testca.New(t, dir).Server("relay", []string{"relay.example.com"})
	text := strings.NewReplacer("/var/lib/boothwire/node", filepath.Join(dir, "state"),
		"/etc/boothwire/relay.pem", cert, "/etc/boothwire/relay.key", key, "/etc/boothwire/ca.pem", filepath.Join(dir, "ca.pem")).Replace(string(example))
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if bare := strings.TrimPrefix(l, "# "); strings.HasPrefix(bare, "[") || strings.Contains(bare, " = ") {
			lines[i] = bare
		}
	}
	for i, l := range lines {
		if old != "" && strings.HasPrefix(l, old) && line == 0 {
			lines[i], line = changed, i+1
		}
	}
	if old != "" && line == 0 {
		t.Fatalf("the example has no line %q", old)
	}
	file := filepath.Join(dir, "c.toml")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	c = new(Config)
	return c, line, daemon.Load(file, c)
}

func TestExample(t *testing.T) {
	c, _, err := load(t, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if c.Relay == nil || c.Relay.Name != "relay-bj-01" || time.Duration(c.Relay.Drain) != 5*time.Second || len(c.STUN) != 4 || c.Metrics == "" {
		t.Errorf("read as %+v, relay %+v", c, c.Relay)
	}
	key, err := c.RelayKey()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.RelayKey(); err != nil || again.Public() != key.Public() {
		t.Errorf("the relay's key did not stay: %v", err)
	}
	if s, err := c.Relay.Server(zap.NewNop()); err != nil || len(s.TLS.Certificates) != 1 || s.Lone != 10_000 {
		t.Errorf("the relay's: %+v, %v", s, err)
	}
	if c, _, err = load(t, `name    = "relay-bj-01"`, ""); err != nil || c.Relay.Name != "wg-bj-01" {
		t.Errorf("a relay without a name: %v", err)
	}
	// As the example is written there is none of it.
	c = new(Config)
	if err := daemon.Load(filepath.Join("..", "..", "example.toml"), c); err != nil || c.Relay != nil || len(c.STUN) != 0 || c.Metrics != "" {
		t.Errorf("as written: %+v, %v", c, err)
	}
	if _, err := c.RelayKey(); err == nil {
		t.Error("a key of no relay")
	}
}

// What is wrong is told with its line.
func TestWrongLines(t *testing.T) {
	for _, tt := range []struct{ old, new, field string }{
		{`name    = "wg`, `name = "wg 1"`, "name"},
		{`listen    =`, `listen = 70000`, "listen"},
		{`endpoints =`, `endpoints = ["gateway"]`, "endpoints"},
		{`plane `, `plane = "best"`, "plane"},
		{`operator_endpoints `, `operator_endpoints = ["wg0"]`, "operator_endpoints"},
		{`uplink `, `uplink = -1`, "uplink"},
		{`stun `, `stun = ["stun.example.com:3478"]`, "stun"},
		{`metrics `, `metrics = "9167"`, "metrics"},
		{`name    = "relay`, `name = "relay 1"`, "relay.name"},
		{`listen  =`, `listen = "443"`, "relay.listen"},
		{`rate `, `rate = -1`, "relay.rate"},
		{`legs `, `legs = -1`, "relay.legs"},
		{`open `, `open = -1`, "relay.open"},
		{`rate_total `, `rate_total = -1`, "relay.rate_total"},
		{`per_ip `, `per_ip = -1`, "relay.per_ip"},
		{`lone `, `lone = -1`, "relay.lone"},
		{`lone_per_ip `, `lone_per_ip = -1`, "relay.lone_per_ip"},
		{`cert =`, `cert = ""`, "relay.tls.cert"},
		{`key  =`, `key = ""`, "relay.tls.cert"},
		{`drain `, `drain = "5"`, "duration"},
		{`legs `, `leg = 1`, "relay.leg"},
	} {
		_, line, err := load(t, tt.old, tt.new)
		if tt.old == `key  =` {
			line-- // the pair is told of by its first
		}
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("c.toml:%d", line)) || !strings.Contains(err.Error(), tt.field) {
			t.Errorf("%s: %v, want line %d and %s", tt.new, err, line, tt.field)
		}
	}
	// What is missing, with the line of its table.
	_, line, _ := load(t, `[relay]`, `[relay]`)
	for old, field := range map[string]string{`listen  =`: "relay.listen", `[relay.tls]`: "relay.cert"} {
		if _, _, err := load(t, old, ""); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("without %s: %v", old, err)
		} else if field == "relay.listen" && !strings.Contains(err.Error(), fmt.Sprintf("c.toml:%d: ", line)) {
			t.Errorf("without %s: %v, want line %d", old, err, line)
		}
	}
}

func TestCheckFiles(t *testing.T) {
	c := &Config{Relay: &relayd.Config{}}
	if err := c.CheckFiles(); err != nil {
		t.Error(err)
	}
	c.CA = filepath.Join(t.TempDir(), "none")
	if err := c.CheckFiles(); err == nil || !strings.HasPrefix(err.Error(), "ca: open ") {
		t.Errorf("without the authorities: %v", err)
	}
	c.CA, c.Relay.TLS = "", daemon.TLS{Cert: "/none.pem", Key: "/none.key"}
	if err := c.CheckFiles(); err == nil || !strings.HasPrefix(err.Error(), "relay.tls.key: open ") {
		t.Errorf("without the relay's key: %v", err)
	}
}
