package scenario

import (
	"flag"
	"time"

	"github.com/boothwire/boothwire/internal/daemon"
)

// A Change is what a command line says against a script; zero fields say nothing.
type Change struct {
	devices, nodes, workers, addresses, callers int
	connect, within, hold                       time.Duration
}

// Flags defines the flags that fill c.
func (c *Change) Flags(f *flag.FlagSet) {
	f.IntVar(&c.devices, "devices", 0, "`number` of devices, in place of the script's")
	f.IntVar(&c.nodes, "nodes", 0, "`number` of nodes, likewise")
	f.IntVar(&c.workers, "workers", 0, "`number` of processes that share the devices, likewise")
	f.IntVar(&c.addresses, "addresses", 0, "`number` of addresses that the devices share, as behind NATs")
	f.IntVar(&c.callers, "callers", 0, "`number` of API calls at once")
	f.DurationVar(&c.connect, "connect", 0, "`time` within which the devices connect to the broker")
	f.DurationVar(&c.within, "within", 0, "`time` of every wake step, in place of the script's; negative: all at once")
	f.DurationVar(&c.hold, "for", 0, "`time` of every step that lasts for one")
}

// apply changes a script that was not settled yet.
func (c *Change) apply(s *Scenario) {
	if c == nil {
		return
	}
	set := func(to *int, v int) {
		if v != 0 {
			*to = v
		}
	}
	before := s.Devices
	set(&s.Devices, c.devices)
	set(&s.Nodes, c.nodes)
	set(&s.Workers, c.workers)
	set(&s.Addresses, c.addresses)
	set(&s.Callers, c.callers)
	if c.connect != 0 {
		s.Connect = daemon.Duration(c.connect)
	}
	for i := range s.Steps {
		p := &s.Steps[i]
		if c.within != 0 {
			p.Within = daemon.Duration(max(c.within, 0))
		}
		if c.hold != 0 && p.For != 0 {
			p.For = daemon.Duration(c.hold)
		}
		if c.devices != 0 && p.Devices > c.devices {
			p.Devices = max(p.Devices*c.devices/max(before, 1), 1) // the same share of a smaller fleet
		}
	}
}
