package planetest

import (
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// deviceKey: a new key takes over once it has proved itself, and the old one works
// until then.
func deviceKey(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p, other := w.pair(1), w.pair(2)
	w.eventually("the first proof", func() bool { _, n := w.calls(p.ID); return n == 1 })
	key := newKey(t)
	p.Device = reach.Device{Key: key.public, Addresses: p.Device.Addresses}
	w.set(p.Session)
	p.passes("under the old key")
	w.set(p.Session)
	p.passes("under the old key, set again")
	if _, proved := w.calls(p.ID); proved != 1 {
		t.Errorf("the old key proved the new one: %d proofs", proved)
	}
	old := p.device
	p.device = w.connect(key, w.devices, p.Device.Addresses[0])
	w.eventually("the second proof", func() bool { _, n := w.calls(p.ID); return n == 2 }) // of what was answered
	p.passes("under the new key")
	w.silent("the old key", other, []*client{old, p.operator}, func() { old.send(p.answer("from the old key")) })
	w.set(p.Session)
	p.passes("under the new key, set again")

	// A key that never came is given up for the next one.
	never, last := newKey(t), newKey(t)
	p.Device.Key = never.public
	w.set(p.Session)
	p.Device.Key = last.public
	w.set(p.Session)
	p.passes("while the third is awaited")
	p.device = w.connect(last, w.devices, p.Device.Addresses[0])
	p.passes("under the third key")
}

// deviceKeyPatience: a new key that does not prove itself takes over all the same.
func deviceKeyPatience(t *testing.T, s Subject) {
	w := newWorld(t, s, func(c *Config) { c.Patience = 2 * time.Second })
	p, other := w.pair(1), w.pair(2)
	key := newKey(t)
	p.Device.Key = key.public
	w.set(p.Session)
	set := time.Now()
	w.eventually("the end of the old key", func() bool {
		return time.Since(set) > 2*time.Second && !p.device.answered(2*time.Second)
	})
	w.silent("the old key", other, []*client{p.device, p.operator}, func() { p.device.send(p.answer("from the old key")) })
	p.device = w.connect(key, w.devices, p.Device.Addresses[0])
	p.passes("under the new key")
}
