package control

import (
	"testing"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// A newer list of roots reaches devices that have the older one, and only once.
func TestRootList(t *testing.T) {
	store := keys.NewMemory()
	if _, _, err := openSigner(store, keys.DefaultIssuer); err != nil {
		t.Fatal(err)
	}
	root, err := keys.OpenIdentity(store, nameRoot)
	if err != nil {
		t.Fatal(err)
	}
	next, err := keys.OpenIdentity(store, "next")
	if err != nil {
		t.Fatal(err)
	}
	list, err := keys.SignRoots(keys.RootList{Issuer: keys.DefaultIssuer, N: 2, Roots: []keys.IdentityKey{root.Key(), next.Key()}}, root, next)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, &Config{Store: store})
	old := w.c.Roots()
	n := w.node("wg-1")
	n.stop()
	w.stop()
	w.cfg.RootList = list
	w.start()
	if got := w.c.Roots(); len(got) != 2 || got[0] == old[0] {
		t.Errorf("roots %v", got)
	}
	n.connect()
	n.follow()
	b := &booth{w: w, store: keys.NewMemory()}
	if b.keys, err = keys.OpenDevice("kiosk-1", b.store, keys.Trust{Roots: old}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.admin.AddDevice(t.Context(), "kiosk-1", b.keys.Key()); err != nil {
		t.Fatal(err)
	}
	b.serve().known()
	t.Cleanup(func() { b.cancel(); <-b.done })
	eventually(t, "the device has the list", func() bool { return b.keys.RootsN() == 2 })
	n.proves(b)
	w.reaches(w.mustOpen(op("ann"), "kiosk-1").ID, client.Connected)
	for _, bad := range []string{"x", `{"lists":[]}`, `{"lists":["a.b.c"]}`, `{"lists":["a.e30.c"]}`} {
		if _, err := Open(t.Context(), ":memory:", &Config{Store: store, RootList: []byte(bad)}); err == nil {
			t.Errorf("opened with the list %s", bad)
		}
	}
}
