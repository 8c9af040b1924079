package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/internal/testca"
	"github.com/boothwire/boothwire/keys"
)

// load reads the example with changes, each old text and new.
func load(t *testing.T, changes ...string) (*Config, error) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "example.toml"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := keys.OpenIdentity(keys.NewMemory(), "root")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key := testca.New(t, dir).Server("relay", []string{"relay.example.com"})
	changes = append(changes, "PASTE.IT=", root.Key().String(), "/var/lib/boothwire/relay", filepath.Join(dir, "state"),
		"/etc/boothwire/relay.pem", cert, "/etc/boothwire/relay.key", key)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(string(text), changes[i]) {
			t.Fatalf("the example has no %q", changes[i])
		}
		text = []byte(strings.Replace(string(text), changes[i], changes[i+1], 1))
	}
	file := filepath.Join(dir, "c.toml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c := new(Config)
	return c, daemon.Load(file, c)
}

func TestExample(t *testing.T) {
	c, err := load(t)
	if err != nil {
		t.Fatal(err)
	}
	key, err := c.OpenKey()
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.OpenKey()
	if err != nil || again.Public() != key.Public() {
		t.Errorf("the key did not stay: %v", err)
	}
	if _, err := c.OpenRoots(); err != nil {
		t.Error(err)
	}
	if s, err := c.Server(zap.NewNop()); err != nil || len(s.TLS.Certificates) != 1 {
		t.Errorf("%v", err)
	}
	for _, tt := range []struct{ old, new, want string }{
		{`"relay-1"`, `"relay 1"`, ":4: name:"},
		{`"0.0.0.0:443"`, `"443"`, "listen:"},
		{`# control `, `control `, "token_file: control and token_file go together"},
		{`# rate    = 50_000_000`, `rate = -1`, "rate:"},
		{`# rate_total = 1_000_000_000`, `rate_total = -1`, "rate_total:"},
		{`# rate    = 50_000_000`, "rate_total = 1\nrate = 50_000_000", "rate_total: 1 is below rate"},
		{`# open    = 1_024`, `open = -1`, "open:"},
		{`# per_ip  = 64`, `per_ip = -1`, "per_ip:"},
		{`# lone    = 10_000`, `lone = -1`, "lone:"},
		{`# lone_per_ip = 2_500`, `lone_per_ip = -1`, "lone_per_ip:"},
		{`# metrics = "127.0.0.1:9166"`, `metrics = "9166"`, "metrics:"},
		{`cert = "/etc/boothwire/relay.pem"`, `# "/etc/boothwire/relay.pem"`, "tls.cert:"},
		{`# stun = ["203.0.113.7:3478",`, `stun = ["relay.example.com:3478",`, "stun:"},
		{`# legs `, `leg `, "leg"},
	} {
		if _, err := load(t, tt.old, tt.new); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.new, err, tt.want)
		}
	}
}

func TestRevocationsWithoutControl(t *testing.T) {
	c, err := load(t)
	if err != nil {
		t.Fatal(err)
	}
	follow, err := c.Revocations(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	follow(t.Context(), func(string) { t.Error("a revocation from nobody") })
	c.Control, c.TokenFile = "https://control.example.com", filepath.Join(t.TempDir(), "none")
	if _, err := c.Revocations(zap.NewNop()); err == nil || !strings.Contains(err.Error(), "token_file") {
		t.Errorf("%v", err)
	}
}

func TestCheckFiles(t *testing.T) {
	c, err := load(t)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckFiles(); err != nil {
		t.Error(err)
	}
	c.TLS.Cert = filepath.Join(t.TempDir(), "none")
	if err := c.CheckFiles(); err == nil || !strings.HasPrefix(err.Error(), "tls.cert: ") {
		t.Errorf("without its certificate: %v", err)
	}
	if _, err := os.Stat(c.State); err == nil {
		t.Error("it made the state folder")
	}
}
