// Package preflight looks whether the host that it runs on has what a session needs:
// services that listen, RDP as it should be, a way out through the firewall, a clock, free
// addresses, a driver where one is wanted. It changes nothing and needs no rights; what
// only rights could tell it leaves unknown and says so.
//
// What it opens is a TCP connection to each service, reset at once: an SSH server may
// write a line about that.
package preflight

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// Config says what the host is to be good for. Nil means defaults.
type Config struct {
	// Ports are those that a grant may name, of which the TCP ones are looked at, 8 at
	// most. Default: those of Services; without any, SSH, SMB and RDP.
	Ports []keys.Port
	// Services is where a port is served; default the same port of 127.0.0.1 or, for
	// tunnels that are interfaces, of an address that others reach this host by.
	Services map[keys.Port]string
	// Mode is the tunnel's: "adapter", "driverless", or "" for whichever can be had.
	Mode string
	// Pool has the tunnels' addresses; default 10.166.0.0/16.
	Pool netip.Prefix
	// Clock returns between which times it is now, by a clock that is not this host's; a
	// zero time: not known. Default: neither is. That it is later than the program's commit
	// is known in any case.
	Clock func() (notBefore, notAfter time.Time)
	// Patience bounds each check; they run beside each other. Default 3 s.
	Patience time.Duration
}

// State is how a check came out.
type State string

// The states, in the words of package signaling.
const (
	OK      State = "ok"
	Warn    State = "warn"    // sessions open, and something in them does not work
	Fail    State = "fail"    // sessions do not open, or reach nothing
	Unknown State = "unknown" // Code says why it was not checked
)

// A Result is what one check found.
type Result struct {
	Check  string `json:"check"` // its name: rdp, clock, ...
	State  State  `json:"state"`
	Code   string `json:"code"`             // why; Explain says it in words
	Detail string `json:"detail,omitempty"` // figures: addresses, prefixes, times
}

// The names of checks, beside those of services: Service has them.
const (
	RDPSettings = "rdp_settings"
	Firewall    = "firewall"
	Clock       = "clock"
	Addresses   = "addresses"
	Driver      = "driver"
)

const (
	patience    = 3 * time.Second // Windows takes 2 s to say that nothing listens
	maxServices = 8
)

var pool = netip.MustParsePrefix("10.166.0.0/16")

// Run checks this host and returns the results, always in the same order. It takes no
// longer than cfg.Patience, and when ctx ends what is not found by then is unknown. It may
// be called concurrently.
func Run(ctx context.Context, cfg *Config) []Result {
	c := cfg.withDefaults()
	return c.run(ctx, here)
}

func (c *Config) withDefaults() Config {
	var out Config
	if c != nil {
		out = *c
	}
	if !out.Pool.IsValid() {
		out.Pool = pool
	}
	if out.Patience <= 0 {
		out.Patience = patience
	}
	if out.Clock == nil {
		out.Clock = func() (a, b time.Time) { return a, b }
	}
	return out
}

// A check looks at one thing. It keeps to ctx as far as the system lets it.
type check struct {
	name string
	look func(ctx context.Context) Result
}

// run makes all checks of a host.
func (c *Config) run(ctx context.Context, h host) []Result {
	services := c.offered(c.reached(h))
	var all []check
	for _, s := range services {
		all = append(all, check{s.name, func(ctx context.Context) Result { return s.check(ctx, h) }})
	}
	all = append(all,
		check{RDPSettings, func(context.Context) Result { return c.rdp(h) }},
		check{Firewall, func(context.Context) Result { return firewall(h.firewall()) }},
		check{Clock, func(context.Context) Result { return clock(h.now(), h.made(), c.Clock) }},
		check{Addresses, func(context.Context) Result { return c.addresses(h) }},
		check{Driver, func(context.Context) Result { return c.driver(h) }},
	)
	ctx, cancel := context.WithTimeout(ctx, c.Patience)
	defer cancel()
	results := make([]Result, len(all))
	var wait sync.WaitGroup
	for i, one := range all {
		wait.Go(func() { results[i] = one.within(ctx) })
	}
	wait.Wait()
	nothing(results[:len(services)])
	return results
}

// within returns what a check found before ctx ends. One that hangs in the system is left
// behind.
func (c check) within(ctx context.Context) Result {
	found := make(chan Result, 1)
	go func() { found <- c.look(ctx) }()
	r := Result{State: Unknown, Code: "too_slow"}
	select {
	case r = <-found:
	case <-ctx.Done():
		select {
		case r = <-found:
		case <-time.After(100 * time.Millisecond): // it keeps to ctx as well, and says more
		}
	}
	r.Check = c.name
	return r
}
