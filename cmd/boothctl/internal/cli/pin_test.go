package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

func TestKnownHostPrintsOnlyTheSignedKey(t *testing.T) {
	blob := []byte("\x00\x00\x00\x0bssh-ed25519 and the key")
	key := base64.StdEncoding.EncodeToString(blob)
	sum := sha256.Sum256(blob)
	hash := "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
	other := base64.StdEncoding.EncodeToString([]byte("another key"))
	for _, tt := range []struct{ hash, key, want string }{
		{hash, key, "kiosk-1 ssh-ed25519 " + key + "\n"},
		{hash, other, ""},
		{hash, "NONE", ""},
		{hash, "", ""},
		{"", "", ""},
	} {
		var out bytes.Buffer
		a := &app{out: &out, err: &out}
		c := a.root()
		c.SetArgs([]string{"known-host", "kiosk-1", tt.hash, "ssh-ed25519", tt.key})
		if err := c.Execute(); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != tt.want {
			t.Errorf("key %q: printed %q, want %q", tt.key, got, tt.want)
		}
	}
}

func TestPinned(t *testing.T) {
	if got := pinned("/bin/true", "/usr/bin/boothctl", "kiosk-1", ""); got != nil {
		t.Errorf("without a hash: %q", got)
	}
	if got := pinned("/bin/false", "/usr/bin/boothctl", "kiosk-1", "SHA256:x"); got != nil {
		t.Errorf("with an ssh that cannot: %q", got)
	}
	got := strings.Join(pinned("/bin/true", "/usr/bin/boothctl", "kiosk-1", "SHA256:x"), " ")
	for _, want := range []string{"KnownHostsCommand=/usr/bin/boothctl known-host kiosk-1 SHA256:x %t %K", "StrictHostKeyChecking=yes", "UserKnownHostsFile=none"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}
