package config

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

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
	changes = append([]string{"PASTE A ROOT FROM boothctl trust", root.Key().String(), "/var/lib/boothwire/agent", filepath.Join(dir, "state")}, changes...)
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
	if len(c.Lines) != 3 || len(c.ports) != 3 || c.Forwards() != nil {
		t.Errorf("got %+v", c)
	}
	for _, tt := range []struct{ old, new, want string }{
		{`"kiosk-00042"   `, `"kiosk 42"   `, ":4: device:"},
		{"wss://broker", "ftp://broker", `line[1].url: "ftp"`},
		{`"driverless"`, `"magic"`, "mode:"},
		{`"tcp/22",`, `"icmp/22",`, "ports:"},
		{`# "tcp/22" = "127.0.0.1:2222"`, `"tcp/22" = "localhost"`, "services.tcp/22:"},
		{`# metrics = "127.0.0.1:9168"`, `metrics = "9168"`, `metrics: "9168"`},
		{`# pool = "10.166.0.0/16"`, `pool = "10.166"`, `pool: "10.166"`},
		{`# cert = `, `cert = `, "line[0].cert: cert and key go together"},
		{`# client_id`, "password = 'x' # client_id", "line[0].password_file:"},
		{`# rdp_server = "127.0.0.1:3389"`, `rdp_server = "10.0.0.1:3389"`, `rdp_server: "10.0.0.1:3389"`},
		{`# rdp_server = "127.0.0.1:3389"`, `rdp_server = "3389"`, `rdp_server: "3389"`},
		{`# rdp_server = "127.0.0.1:3389"`, "rdp_server = '127.0.0.1:3389'\nrdp_certificate = 'x'", "rdp_certificate: rdp_server"},
	} {
		_, err := load(t, tt.old, tt.new)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.new, err, tt.want)
		}
	}
}

func TestHostKeyIsPublished(t *testing.T) {
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	host, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "host.pub")
	for text, ok := range map[string]bool{
		strings.TrimSpace(string(ssh.MarshalAuthorizedKey(host))) + " root@kiosk\n": true,
		"-----BEGIN OPENSSH PRIVATE KEY-----\n":                                     false,
		"ssh-ed25519 !!!\n":                                                         false,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := load(t, "# ssh_host_key = \"/etc/ssh/ssh_host_ed25519_key.pub\"", "ssh_host_key = '"+file+"'")
		if err != nil {
			t.Fatal(err)
		}
		d, err := c.OpenDevice()
		if !ok {
			if err == nil || !strings.Contains(err.Error(), "ssh_host_key") || strings.Contains(err.Error(), "!!!") {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		d.Rotate() // as at each connection
		batch, err := keys.VerifyPrekeys(d.Prekeys(), "boothwire", "kiosk-00042", d.Key())
		if err != nil {
			t.Fatal(err)
		}
		if ssh.FingerprintSHA256(host) != "SHA256:"+base64.RawStdEncoding.EncodeToString(batch.SSH[:]) {
			t.Errorf("the batch says %x, the key is %s", batch.SSH, ssh.FingerprintSHA256(host))
		}
	}
}

func TestRDPCertificateIsPublished(t *testing.T) {
	ca := testca.New(t, t.TempDir())
	certFile, _ := ca.Server("kiosk", []string{"kiosk"})
	text, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	file := filepath.Join(t.TempDir(), "rdp.cer")
	for name, c := range map[string]struct {
		data []byte
		ok   bool
	}{
		"PEM":      {text, true},
		"DER":      {block.Bytes, true},
		"a key":    {[]byte("-----BEGIN PRIVATE KEY-----\n"), false},
		"cut":      {block.Bytes[:100], false},
		"trailing": {append(slices.Clone(block.Bytes), 0), false},
		"empty":    {nil, false},
	} {
		if err := os.WriteFile(file, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := load(t, "# rdp_certificate = \"/etc/xrdp/cert.pem\"", "rdp_certificate = '"+file+"'")
		if err != nil {
			t.Fatal(err)
		}
		d, err := cfg.OpenDevice()
		if !c.ok {
			if err == nil || !strings.Contains(err.Error(), "rdp_certificate") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		d.Rotate() // as at each connection
		batch, err := keys.VerifyPrekeys(d.Prekeys(), "boothwire", "kiosk-00042", d.Key())
		if err != nil || batch.RDP != sha256.Sum256(block.Bytes) {
			t.Errorf("%s: signed %x, %v", name, batch.RDP, err)
		}
	}
}

func TestCheckFiles(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for want, c := range map[string]*Config{
		"":                        {Lines: []Line{{URL: "mqtts://a"}}},
		"ssh_host_key: open ":     {HostKey: none},
		"rdp_certificate: open ":  {RDPCert: none},
		"relay_ca: ":              {RelayCA: none},
		"line[1].ca: open ":       {Lines: []Line{{}, {TLS: daemon.TLS{CA: none}}}},
		"line[0].password_file: ": {Lines: []Line{{Login: daemon.Login{PasswordFile: none}}}},
	} {
		if err := c.CheckFiles(); (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
