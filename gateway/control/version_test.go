package control

import (
	"strings"
	"testing"

	"github.com/boothwire/boothwire/keys"
)

// A node that was built from a checkout has a long version: it may enrol, and its
// version is cut, also when it reports it later.
func TestLongVersionOfANode(t *testing.T) {
	w := newWorld(t, nil)
	claim, id := w.claim("wg-1"), identity(t)
	long := strings.Repeat("v", 63) + "\u00e9" + strings.Repeat("w", 100)
	if _, err := w.c.enrol(id.Key(), &enrolRequest{Claim: claim, Name: "wg-1", Key: keys.NewPrivateKey().Public(), Version: long}); err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		for n, err := range w.admin.Nodes(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			return n.Version
		}
		return ""
	}
	if got := shown(); got != strings.Repeat("v", 63) {
		t.Errorf("version %q", got)
	}
	w.c.mu.Lock()
	w.c.told(w.c.nodes["wg-1"], &nodeReport{Version: strings.Repeat("x", 1000)}, w.c.cfg.Now())
	w.c.mu.Unlock()
	if got := shown(); got != strings.Repeat("x", 64) {
		t.Errorf("reported version %q", got)
	}
}
