package control

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"testing"
)

// The hashes that a device signs for pinning are shown with it.
func TestDeviceShowsItsHostKeys(t *testing.T) {
	w := newWorld(t, nil)
	b := w.booth("kiosk-1", true)
	ssh, rdp := sha256.Sum256([]byte("host key")), sha256.Sum256([]byte("certificate"))
	b.keys.Fingerprints(ssh, rdp)
	b.serve().known()
	d, err := w.admin.Device(t.Context(), "kiosk-1")
	if err != nil {
		t.Fatal(err)
	}
	if want := "SHA256:" + base64.RawStdEncoding.EncodeToString(ssh[:]); d.SSH != want {
		t.Errorf("host key %q, want %q", d.SSH, want)
	}
	if want := hex.EncodeToString(rdp[:]); d.RDP != want {
		t.Errorf("certificate %q, want %q", d.RDP, want)
	}
}
