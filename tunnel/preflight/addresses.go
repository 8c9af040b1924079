package preflight

import (
	"net/netip"
	"slices"
	"strings"
)

// The modes of a tunnel, in the words of package tunnel.
const (
	modeAdapter    = "adapter"
	modeDriverless = "driverless"
)

// addresses looks for networks of the host that have addresses of the tunnels'. Without
// an adapter tunnels have addresses inside this process alone, and nothing collides.
func (c *Config) addresses(h host) Result {
	list, err := h.networks()
	if err != nil {
		return Result{State: Unknown, Code: "unreadable"}
	}
	var hit []string
	slices.SortFunc(list, func(a, b netip.Prefix) int { return b.Bits() - a.Bits() }) // the narrowest says most
	for _, p := range list {
		if text := p.Masked().String(); p.Bits() > 0 && p.Overlaps(c.Pool) && !slices.Contains(hit, text) {
			hit = append(hit, text)
		}
	}
	r := Result{Detail: strings.Join(hit[:min(len(hit), 2)], " ")}
	switch {
	case len(hit) == 0:
		r.State, r.Code, r.Detail = OK, "clear", c.Pool.String()
	case c.Mode == modeAdapter:
		r.State, r.Code = Fail, "overlap"
	case c.driverless():
		r.State, r.Code = OK, "inside"
	default:
		r.State, r.Code = Warn, "overlap"
	}
	return r
}

// driverless reports whether tunnels have no interface: as package tunnel decides.
func (c *Config) driverless() bool {
	return c.Mode == modeDriverless || c.Mode != modeAdapter && len(c.Services) > 0
}

// reached is the address at which sessions come to services that the configuration names
// none for. What listens at 127.0.0.1 alone is not reached through an interface; a tunnel's
// own is not there yet, so another one of the host stands for it.
func (c *Config) reached(h host) netip.Addr {
	if c.driverless() || h.adapter() != "" {
		return loopback
	}
	if own := h.own(); own.IsValid() {
		return own
	}
	return loopback
}

// driver looks whether an interface can be made where one is wanted.
func (c *Config) driver(h host) Result {
	if c.driverless() {
		return Result{State: OK, Code: "none_needed"}
	}
	code := h.adapter()
	switch {
	case code == "":
		return Result{State: OK, Code: "ready"}
	case c.Mode == modeAdapter:
		return Result{State: Fail, Code: code}
	}
	return Result{State: OK, Code: "none_needed"} // it goes on without one
}
