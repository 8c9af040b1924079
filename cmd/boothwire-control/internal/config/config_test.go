package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/internal/testca"
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

// What is no limit that anybody means is refused, with its line and what would fit.
func TestLimits(t *testing.T) {
	const rule = "[[console.oidc.rule]]\ngroup = 'g'\nrole = 'viewer'\n"
	for _, tt := range []struct{ limits, oidc, want string }{
		{"up = 100_000\ndown = 100_000_000_000\nlongest = '24h'\nlifetime = '24h'\n", "recheck = '10s'\nmax_age = '720h'\n", ""},
		{"up = 0\ndown = 0\n", "recheck = '8h'\n", ""},
		{"up = 99_999\n", "", ":3: up: 99999 is no rate in bit/s: from 100000 to 100000000000, or 0 for no limit"},
		{"up = 20_000_000\ndown = 100_000_000_001\n", "", ":4: down: 100000000001 is no rate in bit/s: from 100000 to 100000000000, or 0 for no limit"},
		{"up = 9_223_372_036_854_775_807\ndown = -1\n", "", ":3: up: "},
		{"longest = '24h1s'\n", "", ":3: longest: 24h0m1s is too long: at most 24h0m0s"},
		{"lifetime = '2h'\nlongest = '1h'\n", "", ":3: lifetime: 2h0m0s is more than longest, 1h0m0s"},
		{"lifetime = '9h'\n", "", ":3: lifetime: 9h0m0s is more than longest, 8h0m0s"},
		{"", "recheck = '1ms'\n", ":7: console.oidc.recheck: 1ms is too often, for each who is signed in: at least 10s"},
		{"", "recheck = '9h'\n", ":7: console.oidc.recheck: 9h0m0s is more than max_age, 8h0m0s"},
		{"", "recheck = '2h'\nmax_age = '1h'\n", ":7: console.oidc.recheck: 2h0m0s is more than max_age, 1h0m0s"},
		{"", "recheck = '2540400h'\nmax_age = '2540400h'\n", ":8: console.oidc.max_age: 2540400h0m0s is too long: at most 720h0m0s"},
		{"", "recheck = '2540500000h'\n", ":7:11: "},
	} {
		file := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(file, []byte("state = '/s'\nlisten = ':443'\n"+tt.limits+oidc+tt.oidc+rule), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := daemon.Load(file, new(Config)); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s%s: got %v, want %q", tt.limits, tt.oidc, err, tt.want)
		}
	}
}

// -check reads what the configuration names, and says on which line it is named.
func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	ca := testca.New(t, dir)
	cert, key := ca.Server("control", []string{"control.example.com"})
	secret, junk := filepath.Join(dir, "secret"), filepath.Join(dir, "junk")
	for file, text := range map[string]string{secret: "s\n", junk: "no PEM\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	none := filepath.Join(dir, "none")
	text := func(cert, key, ca, password, relayCA, client string) string {
		return fmt.Sprintf("state = %q\nlisten = '0.0.0.0:443'\n[tls]\ncert = %q\nkey = %q\n[mqtt]\nurl = 'mqtts://b:8883'\nca = %q\npassword_file = %q\n[console]\nrelay_ca = %q\n"+
			oidc+"client_secret_file = %q\n[[console.oidc.rule]]\ngroup = 'a'\nrole = 'viewer'\n", dir, cert, key, ca, password, relayCA, client)
	}
	for _, tt := range []struct{ text, want string }{
		{text(cert, key, ca.File, secret, ca.File, secret), ""},
		{text(none, key, ca.File, secret, ca.File, secret), ":4: tls.cert: "},
		{text(cert, none, ca.File, secret, ca.File, secret), ":5: tls.key: open "},
		{text(cert, junk, ca.File, secret, ca.File, secret), ":4: tls.cert: load the certificate: "},
		{text(cert, key, none, secret, ca.File, secret), ":8: mqtt.ca: open "},
		{text(cert, key, junk, secret, ca.File, secret), ":8: mqtt.ca: " + junk + " holds no PEM certificate"},
		{text(cert, key, ca.File, none, ca.File, secret), ":9: mqtt.password_file: open "},
		{text(cert, key, ca.File, secret, junk, secret), ":11: console.relay_ca: "},
		{text(cert, key, ca.File, secret, ca.File, none), ":16: console.oidc.client_secret_file: open "},
	} {
		file := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := new(Config)
		if err := daemon.Load(file, c); err != nil {
			t.Fatal(err)
		}
		if err := daemon.Check(file, c); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

// A state folder may have any name.
func TestDSN(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "booths #1? 50%")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := &Config{State: dir}
	ctl, err := control.Open(t.Context(), c.DSN(), c.Control("", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer ctl.Close()
	if _, err := os.Stat(filepath.Join(dir, "control.db")); err != nil {
		t.Error(err)
	}
}
