package control

import (
	"fmt"
	"testing"

	"github.com/boothwire/boothwire/gateway/control/internal/api"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
)

// A page of a fleet costs what is on it, not what the fleet is.
func TestPageOfMany(t *testing.T) {
	c, err := Open(t.Context(), ":memory:", &Config{Store: keys.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const fleet, page = 10_000, 10
	key := identity(t).Key().String()
	c.mu.Lock()
	for n := range fleet {
		id := fmt.Sprintf("kiosk-%05d", n)
		if c.devices[id], err = readDevice(store.Device{ID: id, Key: key, Caps: []string{capEndToEnd}}); err != nil {
			t.Fatal(err)
		}
	}
	c.mu.Unlock()
	q := api.Query{Limit: page, After: "kiosk-04999"}
	allocs := testing.AllocsPerRun(10, func() {
		list, next, err := backend{c}.Devices(t.Context(), auth.User{Name: "ann", Role: Admin}, q)
		if err != nil || len(list) != page || list[0].ID != "kiosk-05000" || next != "kiosk-05009" {
			t.Fatalf("%d from %+v, next %q, %v", len(list), list, next, err)
		}
	})
	if allocs > 1000 {
		t.Errorf("%v allocations for a page of %d", allocs, page)
	}
}
