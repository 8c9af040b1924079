//go:build linux

package e2e

import "testing"

// TestContinuity holds an ssh connection while everything that may happen to a path
// happens: no byte is lost, and nobody connects again.
func TestContinuity(t *testing.T) {
	w := newContinuityWorld(t)
	t.Run("by the relay and up", func(t *testing.T) {
		w.t = t
		w.shop.Refuse("meta l4proto udp")
		c := w.call("--end-to-end")
		w.onPath("relay")
		c.through("relay drained", func() string {
			w.relay.stop()
			return w.onPath("relay")
		})
		w.relay.run()
		c.through("relay killed", func() string {
			w.relay2.kill()
			c.hear()
			w.relay2.run()
			return w.onPath("relay")
		})
		c.through("relay to direct", func() string {
			w.shop.Allow()
			return w.onPath("direct")
		})
		c.through("device's uplink swapped", func() string {
			w.shopSite.Swap()
			c.hear()
			return w.onPath("direct")
		})
		c.hangUp()
	})
	t.Run("direct and down", func(t *testing.T) {
		w.t = t
		device, operator := w.shopSite.Public.String(), w.homeSite.Public.String()
		c := w.call("--end-to-end")
		w.onPath("direct")
		for _, d := range []struct {
			name string
			do   func()
		}{{"device's NAT rebound", w.shopSite.NAT.Rebind}, {"operator's NAT rebound", w.homeSite.NAT.Rebind}} {
			c.through(d.name, func() string {
				d.do()
				c.hear()
				return w.onPath("direct")
			})
		}
		c.through("device to operator blackholed", func() string {
			w.shop.Blackhole("meta l4proto udp ip daddr " + operator)
			return w.onPath("relay")
		})
		c.through("that is over", func() string {
			w.shop.Clear()
			return w.onPath("direct")
		})
		c.through("operator to device blackholed", func() string {
			w.homeSite.Router.Blackhole("meta l4proto udp ip daddr " + device)
			return w.onPath("relay")
		})
		w.homeSite.Router.Clear()
		c.hangUp()
	})
	t.Run("by a node", func(t *testing.T) {
		w.t = t
		c := w.call()
		for _, d := range []struct {
			name string
			do   func()
		}{
			{"device's NAT rebound", w.shopSite.NAT.Rebind},
			{"operator's NAT rebound", w.homeSite.NAT.Rebind},
			{"device's uplink swapped", w.shopSite.Swap},
		} {
			c.through(d.name, func() string {
				d.do()
				c.hear()
				return w.onPath("direct")
			})
		}
		c.hangUp()
	})
}
