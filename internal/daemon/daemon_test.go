package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

type config struct {
	Settings
	Name string   `toml:"name"`
	Wait Duration `toml:"wait"`
	Sub  struct {
		Port int `toml:"port"`
	} `toml:"sub"`
}

func (c *config) Validate() error {
	if c.Sub.Port > 65535 {
		return Wrong("sub.port", "%d is no port", c.Sub.Port)
	}
	if c.Name == "" {
		return Wrong("name", "required")
	}
	return nil
}

func TestLoadNamesFileAndLine(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"good", "name = 'a'\nwait = '90s'\n", ""},
		{"unknown field", "name = 'a'\n[sub]\nprot = 1\n", `c.toml:3: there is no field "sub.prot"`},
		{"syntax", "name = 'a'\nwait = = 3\n", "c.toml:2:"},
		{"type", "name = 3\n", "c.toml:1:"},
		{"duration", "name = 'a'\nwait = '-3s'\n", "c.toml:2"},
		{"validation", "name = 'a'\n[sub]\nport = 70000\n", "c.toml:3: sub.port: 70000 is no port"},
		{"missing", "wait = '1s'\n", "c.toml: name: required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c config
			err := parse("c.toml", []byte(tt.text), &c)
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("got %v, want %q in it", err, tt.want)
			case tt.want == "" && time.Duration(c.Wait) != 90*time.Second:
				t.Fatalf("wait is %v", time.Duration(c.Wait))
			}
		})
	}
}

func program(run func(context.Context, *zap.Logger) error) (*Program, *config) {
	c := new(config)
	return &Program{Name: "test", Summary: "tests.", Example: "name = 'x'\n", Config: c, Settings: &c.Settings, Run: run,
		Commands: map[string]Command{"key": {"prints a key", func(_ context.Context, _ []string, out io.Writer) error {
			_, err := io.WriteString(out, "KEY\n")
			return err
		}}},
	}, c
}

func TestMainVerbs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(file, []byte("name = 'a'\ndebug = '127.0.0.1:0'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ran := false
	p, _ := program(func(context.Context, *zap.Logger) error { ran = true; return nil })
	for _, tt := range []struct {
		args []string
		out  string
		err  string
	}{
		{[]string{"-version"}, "test ", ""},
		{[]string{"-example"}, "name = 'x'", ""},
		{[]string{"-check", "-config", file}, "good", ""},
		{[]string{"-config", file, "key"}, "KEY", ""},
		{[]string{"-config", file, "nonsense"}, "", "is no command"},
		{[]string{"-config", file + "x"}, "", "read the configuration"},
		{nil, "", "-config FILE is required"},
		{[]string{"-config", file}, "", ""},
	} {
		var out, errOut bytes.Buffer
		err := p.main(t.Context(), tt.args, &out, &errOut)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%v: got error %v, want %q", tt.args, err, tt.err)
		}
		if !strings.Contains(out.String(), tt.out) {
			t.Errorf("%v: printed %q, want %q", tt.args, out.String(), tt.out)
		}
	}
	if !ran {
		t.Error("Run was not called")
	}
}

func TestServeReportsFailureAndForgivesItAtShutdown(t *testing.T) {
	boom := errors.New("boom")
	p, c := program(func(context.Context, *zap.Logger) error { return boom })
	if err := p.serve(t.Context(), zap.NewNop()); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.serve(ctx, zap.NewNop()); err != nil {
		t.Errorf("at shutdown: %v", err)
	}
	c.Debug = "0.0.0.0:6060"
	if err := p.serve(t.Context(), zap.NewNop()); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("a public debug page: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("name = 'a'\n[sub]\nport = 1\n"))
	f.Add([]byte("name = 'a\n"))
	f.Fuzz(func(t *testing.T, data []byte) { parse("c.toml", data, new(config)) })
}

func TestSelfSignedIsItsOwnAuthority(t *testing.T) {
	cert, key, err := SelfSigned("test", 1, "control.example.com", "203.0.113.10")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(cert) {
		t.Fatal("no PEM")
	}
	for _, name := range []string{"control.example.com", "203.0.113.10", "localhost", "127.0.0.1"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(Pin(pair)) != 43 {
		t.Errorf("pin %q", Pin(pair))
	}
}
