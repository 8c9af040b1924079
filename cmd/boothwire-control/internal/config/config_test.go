package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/internal/daemon"
)

const key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func relayLines(name, url, key string) string {
	return fmt.Sprintf("[[relay]]\nname = %q\nurl = %q\nkey = %q\n", name, url, key)
}

const oidc = "[console.oidc]\nissuer = 'https://id.example.com'\nclient_id = 'c'\nredirect = 'https://control.example.com/console/oidc/callback'\n"

func TestExample(t *testing.T) {
	example, err := os.ReadFile(filepath.Join("..", "..", "example.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"", "", ""},
		{`"0.0.0.0:443"`, `"443"`, "listen:"},
		{`# url  = "https://10.0.0.5:443"`, `url = "10.0.0.5:443"`, `: url: "10.0.0.5:443"`},
		{`"10.166.0.0/16"`, `"fd00::/64"`, "pool:"},
		{`bare_nodes = []`, `bare_nodes = ["wg 1"]`, "bare_nodes:"},
		{`# cert = "/etc/boothwire/control.pem"`, `cert = "/etc/boothwire/control.pem"`, "tls.cert: cert and key go together"},
		{`mqtts://broker`, `http://broker`, `mqtt.url: "http"`},
		{`# metrics = "127.0.0.1:9169"`, `metrics = "9169"`, `: metrics: "9169"`},
		{`kind = ""`, `kind = "both"`, `: kind: "both"`},
		{"# [console]\n", "[console]\nports = [\"tcp/22\"]\n", ""},
		{"# [console]\n", "[console]\nports = [\"22\"]\n", "console.ports:"},
		{`# down = 20_000_000`, `down = 20`, ": down: 20 is no rate"},
		{`# up   = 20_000_000`, `up = -1`, ": up: -1 is no rate"},
		{`stun = []`, `stun = ["a:1", "stun.example.com"]`, `: stun: "stun.example.com"`},
		{"# [[relay]]\n", relayLines("relay-1", "https://relay.example.com/relay", key), ""},
		{"# [[relay]]\n", relayLines("relay 1", "https://relay.example.com/relay", key), `: relay[0].name: "relay 1"`},
		{"# [[relay]]\n", relayLines("relay-1", "http://relay.example.com/relay", key), `: relay[0].url: "http:`},
		{"# [[relay]]\n", relayLines("relay-1", "https://relay.example.com/relay", "x"), `: relay[0].key: "x"`},
		{"# [[relay]]\n", relayLines("a", "https://a.example.com", key) + relayLines("a", "https://b.example.com", key), `: relay[1].name: another`},
		{"# [console.desktop]\n", "[console.desktop]\nguacd = '127.0.0.1:4822'\nrecordings = '/r'\nrecord = true\ndrive = true\n", ""},
		{"# [console.desktop]\n", "[console.desktop]\nfirst_use = true\nwithout_nla = true\nmost = 5\n", ""},
		{"# [console.desktop]\n", "[console.desktop]\nguacd = '4822'\n", `console.desktop.guacd: "4822"`},
		{"# [console.desktop]\n", "[console.desktop]\nrecord = true\n", "console.desktop.record: needs guacd"},
		{"# [console.desktop]\n", "[console.desktop]\nguacd = 'guacd:4822'\nrecord = true\n", "console.desktop.record: needs a folder"},
		{`# client_id = "control"`, "password = 'x' # client_id", "mqtt.password_file:"},
		{"# [console.oidc]\n", oidc + "recheck = '1m'\nmax_age = '1h'\n[[console.oidc.rule]]\ngroup = 'g'\nrole = 'viewer'\n", ""},
		{"# [console.local]\n", "[console.local]\n", ""},
		{"# [console.local]\n", "[console.local]\npassword_hash = 'secret'\n", `console.local.password_hash: no bcrypt hash`},
		{"# [console.oidc]\n", "[console.oidc]\nissuer = 'http://id.example.com'\n", `: console.oidc.issuer: "http://id`},
		{"# [console.oidc]\n", oidc + "[[console.oidc.rule]]\ngroup = 'a'\nrole = 'viewer'\n", ""},
		{"# [console.oidc]\n", oidc, `console.oidc.rule: without one nobody`},
		{"# [console.oidc]\n", oidc + "[[console.oidc.rule]]\ngroup = 'a'\nrole = 'root'\n", `: console.oidc.rule[0].role: "root"`},
	} {
		if !strings.Contains(string(example), tt.old) {
			t.Fatalf("the example has no %q", tt.old)
		}
		file := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(file, []byte(strings.Replace(string(example), tt.old, tt.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		err := daemon.Load(file, new(Config))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.new, err, tt.want)
		}
	}
}
