package kernel

import (
	"net/netip"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/kernelvm"
	"github.com/boothwire/boothwire/internal/netlab"
)

// A session that ran out while the clock was set back ends whole, and its device may
// come again.
func TestClockSetBack(t *testing.T) {
	if kernelvm.Inside() {
		t.Skip("runs outside of the guest")
	}
	lab := netlab.New(t)
	if err := lab.Host("node").Do(func() error {
		f, err := openFirewall("boothwire")
		if err != nil {
			return err
		}
		defer f.close()
		s, _, _ := described(1)
		a := s.Device.Addresses[0]
		now := time.Now()
		d := &delta{opened: ways(&s), alive: map[netip.Addr]time.Time{a: now.Add(100 * time.Millisecond)}, await: s.Device.Addresses}
		if err := f.apply(d, now); err != nil {
			return err
		}
		if err := f.apply(d, now.Add(-time.Hour)); err != nil { // set again as it is
			return err
		}
		time.Sleep(500 * time.Millisecond)
		now = time.Now().Add(-time.Hour)
		d = &delta{shut: ways(&s), alive: map[netip.Addr]time.Time{a: {}}, heard: s.Device.Addresses}
		if err := f.apply(d, now); err != nil {
			t.Errorf("the end of a session: %v", err)
		}
		if len(f.ways) > 0 || len(f.alive) > 0 || len(f.unproved) > 0 {
			t.Errorf("left: %v, %v, %v", f.ways, f.alive, f.unproved)
		}
		if err := f.apply(&delta{opened: ways(&s), alive: map[netip.Addr]time.Time{a: now.Add(time.Minute)}}, now); err != nil {
			t.Errorf("the device's next session: %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
