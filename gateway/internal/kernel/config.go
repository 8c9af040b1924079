package kernel

import (
	"net/netip"
	"time"

	"go.uber.org/zap"
)

// DefaultMTU fits every path that carries IPv6, so no probe is needed to be safe.
const DefaultMTU = 1280

// Config is what Open needs.
type Config struct {
	PrivateKey [32]byte     // the node's WireGuard key; required
	Listen     uint16       // UDP port for devices, operators have the next; 0: any free ones
	Pool       netip.Prefix // of all tunnel addresses, IPv4; required
	Proof      netip.Addr   // where the node answers echoes; required
	MTU        int          // of the tunnels, bytes; 0: DefaultMTU
	Uplink     int64        // bit/s of the node's line in each direction; 0: no limit

	// Devices and Operators name the two interfaces, Table that of nftables; empty:
	// wgd0, wgo0 and boothwire.
	Devices, Operators, Table string

	// Handshake and Proved are told of the first packet of a device under its key,
	// the one before the other; they must not block or call the plane.
	Handshake, Proved func(session string)
	Patience          time.Duration // for a new device key to prove itself; 0: 60 s
	Logger            *zap.Logger   // nil: silent

	// found is where a test has its own interfaces, which are WireGuard's in userspace;
	// the plane then neither makes nor deletes links.
	found bool
}

func (cfg Config) settled() Config {
	if cfg.MTU == 0 {
		cfg.MTU = DefaultMTU
	}
	if cfg.Patience == 0 {
		cfg.Patience = time.Minute
	}
	for _, v := range []struct {
		name *string
		or   string
	}{{&cfg.Devices, "wgd0"}, {&cfg.Operators, "wgo0"}, {&cfg.Table, "boothwire"}} {
		if *v.name == "" {
			*v.name = v.or
		}
	}
	if cfg.Handshake == nil {
		cfg.Handshake = func(string) {}
	}
	if cfg.Proved == nil {
		cfg.Proved = func(string) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	return cfg
}
