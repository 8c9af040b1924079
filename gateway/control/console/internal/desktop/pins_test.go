package desktop

import (
	"path/filepath"
	"testing"

	"github.com/boothwire/boothwire/gateway/control/console/internal/firstuse"
	"github.com/boothwire/boothwire/gateway/control/console/internal/rdcleanpath"
)

// A device that signed no certificate is known by the first, and by no other.
func TestFirstUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rdp-certificates")
	pins, err := firstuse.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	unsigned := func(t *Target) { t.RDP = "" }
	w := newWorld(t, Config{First: pins})
	for range 2 {
		code, _ := w.code(unsigned)
		w.opens(code).echoes("hello")
	}
	again, err := firstuse.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	other := newWorld(t, Config{First: again})
	code, _ := other.code(unsigned)
	e, got := other.asks(&rdcleanpath.PDU{Destination: "a", ProxyAuth: code, X224: browserAsks})
	if got.Error == nil || got.Error.HTTP != 403 {
		t.Errorf("another certificate: %v", got)
	}
	other.ends(e.ws, 4403, "certificate_changed")
}
