package desktop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/gateway/control/console/internal/rdcleanpath"
)

// A device that signed no certificate is known by the first, and by no other.
func TestFirstUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pins.json")
	pins, err := OpenPins(file)
	if err != nil {
		t.Fatal(err)
	}
	unsigned := func(t *Target) { t.RDP = "" }
	w := newWorld(t, Config{Policy: Policy{FirstUse: true}, Pins: pins})
	for range 2 {
		code, _ := w.code(unsigned)
		w.opens(code).echoes("hello")
	}
	again, err := OpenPins(file)
	if err != nil {
		t.Fatal(err)
	}
	other := newWorld(t, Config{Policy: Policy{FirstUse: true}, Pins: again})
	code, _ := other.code(unsigned)
	e, got := other.asks(&rdcleanpath.PDU{Destination: "a", ProxyAuth: code, X224: browserAsks})
	if got.Error == nil || got.Error.HTTP != 403 {
		t.Errorf("another certificate: %v", got)
	}
	other.ends(e.ws, 4403, "certificate_changed")
	if err := again.Forget("kiosk-1"); err != nil {
		t.Fatal(err)
	}
	code, _ = other.code(unsigned)
	other.opens(code)
	if b, _ := os.ReadFile(file); !strings.Contains(string(b), other.device.sum) {
		t.Errorf("the file has %s", b)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
}

func TestPinsThatCannotBeKept(t *testing.T) {
	pins, err := OpenPins(filepath.Join(t.TempDir(), "gone", "pins.json"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if same, err := pins.meet("kiosk-1", strings.Repeat("ab", 32)); err == nil || same {
			t.Errorf("a pin that was not kept counts: %v", same)
		}
	}
	for _, text := range []string{"{", `{"kiosk-1":"ab"}`, `{"kiosk-1":5}`} {
		file := filepath.Join(t.TempDir(), "pins.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenPins(file); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}
