package gateway

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
)

// Plane names a data plane.
type Plane string

// The data planes. Kernel has to be asked for: it wants root and a second UDP port,
// the one after Listen, for operators. Where the kernel cannot, Open answers
// errors.ErrUnsupported.
const (
	Auto      Plane = ""          // Userspace
	Userspace Plane = "userspace" // wireguard-go in this process; no root needed
	Kernel    Plane = "kernel"    // the kernel's WireGuard; Linux, CAP_NET_ADMIN
)

// Config is what a node may be told; its zero value works.
type Config struct {
	// Store keeps the node's keys, its port and its enrolment over restarts; nil:
	// memory, so that a restarted node is another one.
	Store keys.Store
	// Journal is the path of a file, in a folder that is there, from which a restarted
	// node knows the sessions in force, where their peers are, and which are over,
	// before control tells it; empty: none.
	Journal string
	// Plane is the data plane.
	Plane Plane
	// Listen is the UDP port, for devices at least; 0: a free one, remembered in Store.
	Listen uint16
	// Endpoints are where devices and operators reach the node; port 0 means the
	// port that it listens on. Empty: the addresses of this host's interfaces.
	Endpoints []netip.AddrPort
	// OperatorEndpoints are where operators reach a node whose data plane has a port
	// of its own for them; port 0 as in Endpoints. Empty: as Endpoints, with that port.
	OperatorEndpoints []netip.AddrPort
	// Pool is the range of all tunnel addresses; zero: the enrolment's in Store,
	// else 10.166.0.0/16.
	Pool netip.Prefix
	// Proof is the node's own tunnel address, which answers echoes; zero: the
	// enrolment's in Store, else the first of Pool.
	Proof netip.Addr
	// Uplink is how fast the node's own line is in each direction, bit/s; sessions
	// share it fairly. 0: it is no limit.
	Uplink keys.Rate
	// MTU of the tunnels in bytes; 0: 1280.
	MTU int
	// Relay makes a leg of the node's at the first of relays that takes it, in their
	// order; as relay.Dial it makes sessions reach devices and operators without UDP.
	// What it returns keeps packets apart; it may have relay.Conn's ReadBatch,
	// WriteBatch and Renew. It is called from many goroutines. nil: UDP only.
	Relay func(ctx context.Context, relays []keys.Relay, key keys.PrivateKey) (net.Conn, error)
	// Region is whose devices control gives this node first; may be empty.
	Region string
	// Capacity is how many sessions the node takes; 0: as many as it has keys for, and
	// control gives it 10,000.
	Capacity int
	// Version is what the node tells control that it runs; may be empty.
	Version string
	// Observe, unless nil, gets every Event in order; it must not block or call
	// the node.
	Observe func(Event)
	// Logger, nil: silent.
	Logger *zap.Logger
}

// settled returns a copy of cfg with its defaults in place.
func (cfg *Config) settled() (Config, error) {
	var c Config
	if cfg != nil {
		c = *cfg
	}
	if c.Store == nil {
		c.Store = keys.NewMemory()
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Observe == nil {
		c.Observe = func(Event) {}
	}
	e, err := loadEnrolment(c.Store)
	if err != nil {
		return c, err
	}
	if e != nil && !c.Pool.IsValid() {
		c.Pool = e.Pool
		if !c.Proof.IsValid() {
			c.Proof = e.Proof
		}
	}
	if !c.Pool.IsValid() {
		c.Pool = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 166, 0, 0}), 16)
	}
	c.Pool = c.Pool.Masked()
	if !c.Proof.IsValid() {
		c.Proof = c.Pool.Addr().Next()
	}
	if !c.Pool.Contains(c.Proof) {
		return c, fmt.Errorf("gateway: proof address %v is outside the pool %v", c.Proof, c.Pool)
	}
	if c.Uplink < 0 {
		return c, fmt.Errorf("gateway: uplink of %d bit/s", c.Uplink)
	}
	if c.MTU != 0 && (c.MTU < 576 || c.MTU > 1920) {
		return c, fmt.Errorf("gateway: MTU %d is not within 576 to 1920", c.MTU)
	}
	return c, nil
}
