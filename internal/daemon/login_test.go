package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(" a b\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		in        Login
		want, err string
	}{
		{Login{}, "", ""},
		{Login{Password: "x"}, "x", ""},
		{Login{PasswordFile: file}, " a b", ""},
		{Login{PasswordFile: file + "x"}, "", "password_file: open "},
	} {
		got, err := tt.in.Secret()
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%+v: got %q, %v", tt.in, got, err)
		}
	}
	if err := (&Login{Password: "x", PasswordFile: file}).Validate(); err == nil || strings.Contains(err.Error(), "x:") {
		t.Errorf("two passwords: %v", err)
	}
	for _, half := range []TLS{{Cert: "c"}, {Key: "k"}} {
		if half.Validate() == nil {
			t.Errorf("%+v is half a pair", half)
		}
	}
}

func TestLineOf(t *testing.T) {
	text := []byte(`name = 'a' # url = 'no'
[[line]]
url = 'one'
[[line]]
# url = 'comment'
"url" = 'two'
[services]
"tcp/22" = 'x'
[mqtt]
url = 'three'
`)
	for field, want := range map[string]int{
		"name": 1, "line[0].url": 3, "line[1].url": 6, "services.tcp/22": 8, "mqtt.url": 10, "url": 0, "line[2].url": 0, "mqtt.name": 9, "mqtt.tls.cert": 9,
	} {
		if got := lineOf(text, field); got != want {
			t.Errorf("%s stands in line %d, want %d", field, got, want)
		}
	}
}
