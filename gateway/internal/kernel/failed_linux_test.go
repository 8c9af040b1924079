package kernel

import (
	"os"
	"testing"

	"github.com/boothwire/boothwire/internal/kernelvm"
)

// envFailed is set for the process of TestSetFailed that lives in a namespace.
const envFailed = "BOOTHWIRE_KERNEL_FAILED"

// Of a session that could not be changed nothing is left, of how it was before neither:
// whoever was to lose his way in would have it back with the device's next session.
func TestSetFailed(t *testing.T) {
	if kernelvm.Inside() {
		t.Skip("runs outside of the guest")
	}
	if os.Getenv(envFailed) == "" {
		inNamespace(t, envFailed)
		return
	}
	node := newKey()
	p := overFor(t, node)
	both, _, _ := described(1)
	second, _, _ := described(2)
	both.Operators = append(both.Operators, second.Operators...)
	if err := p.Set(both); err != nil {
		t.Fatal(err)
	}
	turned := both
	turned.Device.Key = newKey().public // which has not come yet
	if err := p.Set(turned); err != nil {
		t.Fatal(err)
	}
	// Without the second operator, with a third key, and with a rate for which the kernel
	// has no class left.
	for class := range uint16(classMost) {
		p.shaper.taken[class+1] = true
	}
	less := turned
	less.Operators, less.Down = both.Operators[:1], 1_000_000
	less.Device.Key = newKey().public
	if err := p.Set(less); err == nil {
		t.Fatal("there is no class, and it was made")
	}
	empty(t, p)
	again, _, _ := described(1)
	again.ID = "the device's next session"
	if err := p.Set(again); err != nil {
		t.Fatal(err)
	}
	if len(p.firewall.ways) != 3 || len(p.firewall.alive) != 2 {
		t.Errorf("the next session has more than its own: %v, %v", p.firewall.ways, p.firewall.alive)
	}
}

// empty fails t if the kernel holds anything of a session.
func empty(t *testing.T, p *Plane) {
	t.Helper()
	for _, name := range []string{p.cfg.Devices, p.cfg.Operators} {
		d, err := p.wg.Device(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Peers) != 0 {
			t.Errorf("%d peers are left of %s", len(d.Peers), name)
		}
	}
	for _, s := range p.firewall.sets.all() {
		list, err := p.firewall.dump(s)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 0 {
			t.Errorf("%d elements are left in %s", len(list), s.Name)
		}
	}
	if len(p.links.routes) != 0 || len(p.shaper.have) != 0 || len(p.turning) != 0 {
		t.Errorf("left: routes %v, classes %v, keys %v", p.links.routes, p.shaper.have, p.turning)
	}
}
