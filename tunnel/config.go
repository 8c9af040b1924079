package tunnel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/boothwire/boothwire/keys"
)

// Config says what a tunnel is. ForDevice and ForOperator make one of a grant;
// the caller may change it before Up, which copies it.
type Config struct {
	Role      Role            // which direction the reach filter opens; default Device
	Key       keys.PrivateKey // this end's; required
	Addresses []netip.Addr    // this end's in the tunnel; required
	Far       Peer            // who holds the other key; required

	// Paths are the ways to the far end, the preferred first. None is allowed for
	// an end that waits to be called.
	Paths []Path

	Policy Policy // which of them may be used; default all

	// Operators are, at a device, who may reach which ports. When there are none,
	// every address in Far.Allowed but the proof's may reach Ports.
	Operators []keys.Operator
	Ports     []keys.Port // that the device opens; ForDevice: all operators' together

	// Services are where a driverless device forwards its granted ports to;
	// default 127.0.0.1 and the same port.
	Services map[keys.Port]string

	// Renew is, at a device, called with what the operator's end sends by SendRenew,
	// before anybody has verified it: at most two a second, one at a time, in a
	// goroutine of its own. It may call Update, but not Close. Nil: such packets are
	// judged as any other.
	Renew func(token []byte)

	// Swap has Update put another far end into the place of the one before at once,
	// where it would prove it beside that one first: what its paths' Open finds belongs
	// to one far end at a time.
	Swap bool

	Lifetime time.Duration // total, from Up, on the monotonic clock; 0: no limit
	Idle     time.Duration // without packets of operators; 0: 15 min, negative: no limit

	Mode Mode   // default Auto
	Name string // of an adapter; default bw0, bw1, ...
	MTU  int    // of the tunnel, in bytes; default 1280, raised when an echo of more passes; a set one stays

	Listen uint16         // UDP port; default: any free one
	Socket net.PacketConn // instead of a UDP socket of the tunnel's own; Close closes it
	TUN    tun.Device     // instead of an adapter or the driverless stack; Close closes it
	Logger *zap.Logger    // default: silent

	hooks hooks
}

// hooks are where tests hold a tunnel up or feed it.
type hooks struct {
	at    func(ctx context.Context, stage string) // called as Up passes each stage
	now   func() time.Time                        // the wall clock
	still bool                                    // do not watch the system's addresses
}

// A Role is which side of a session an end is.
type Role string

const (
	Device   Role = "device"   // is reached
	Operator Role = "operator" // reaches
)

// A Mode is how the tunnel meets the host.
type Mode string

const (
	Auto       Mode = ""           // see the package's Modes
	Adapter    Mode = "adapter"    // a network interface of the system's
	Driverless Mode = "driverless" // a TCP/IP stack in this process
)

// A Peer is the far end of the tunnel.
type Peer struct {
	Key       keys.PublicKey
	Allowed   []netip.Addr // whose packets come from it: the other side's addresses
	Proof     netip.Addr   // answers echoes; allowed too
	Initiates bool         // it begins handshakes, and this end waits one second for it
}

// A PathKind is how a path travels.
type PathKind string

const (
	Direct PathKind = "direct"
	Relay  PathKind = "relay"
)

// A Policy says which kinds of paths may be used.
type Policy string

const (
	AutoPolicy Policy = ""            // all: a relay first, a direct one as soon as it works
	RelayOnly  Policy = "relay-only"  // no direct one is even looked for
	DirectOnly Policy = "direct-only" // no relay is dialled
)

// allows reports whether paths of a kind may be used.
func (p Policy) allows(k PathKind) bool {
	return p == AutoPolicy || (p == RelayOnly) == (k == Relay)
}

// A Path is one way to the far end: a known address, or a func that finds one.
//
// Open is called at once, at each change of the host's addresses and again with
// back-off when it fails or its connection's Read does. It gets the tunnel's own
// socket, for all that is not WireGuard. It may return a SocketConn, whose SocketAddr
// then is the path, or a connection that carries the packets itself: one that keeps
// them apart and whose Write does not wait, such as a leg at a relay. A BatchConn of
// that kind is given many at once. Errors with a method Code() string show that code
// in Status, those with Why() string that text; after one whose Waits() bool is true,
// which says that the far end makes the attempts, Open is called again at once.
//
// A connection that is a Checker too is judged by its checks: it carries as long as
// they pass, and then stays open when the host's addresses change. It is left within
// 1.5 s of failing, and its Open called again if a direct one does not recover. The
// others are judged by the packets of the tunnel. A connection with a method
// Why() string tells more of itself for Status; it is asked often and must not block.
type Path struct {
	// Name tells the same path in a later config: Update leaves what one of the same
	// name and kind has opened as it is, unless key or far end change. Default: none,
	// Update opens the path anew.
	Name string
	Kind PathKind // default Direct
	Addr netip.AddrPort
	Open func(ctx context.Context, sock net.PacketConn) (net.Conn, error)
}

// kind is Kind with its default.
func (p Path) kind() PathKind {
	if p.Kind == "" {
		return Direct
	}
	return p.Kind
}

// A Checker is a path that can be asked whether it works: Check makes one round trip
// to the far end and back, by this path alone, and returns how long it took. It ends
// with ctx, 2 s after it began at the latest. Up to eight are under way at once; while
// nobody uses the tunnel they are 20 s apart.
type Checker interface {
	Check(ctx context.Context) (time.Duration, error)
}

// A SocketConn is a path that goes out of the tunnel's own socket, in batches.
type SocketConn interface {
	net.Conn
	SocketAddr() netip.AddrPort
}

// A BatchConn is a path beside the tunnel's socket that takes and gives many packets in
// a call. It writes one after the other, and does not keep bufs.
type BatchConn interface {
	net.Conn
	ReadBatch(bufs [][]byte, sizes []int) (int, error)
	WriteBatch(bufs [][]byte) (int, error)
}

const (
	defaultMTU  = 1280
	minMTU      = 576
	maxMTU      = 65455 // a UDP datagram less WireGuard's 32 bytes, and room for padding
	defaultIdle = 15 * time.Minute
)

// ForDevice returns all that a grant says of a device's tunnel. The caller adds
// Paths with Open.
func ForDevice(g *keys.Grant, key keys.PrivateKey) *Config {
	c := &Config{
		Role:      Device,
		Key:       key,
		Addresses: slices.Clone(g.Addresses),
		Far:       Peer{Key: g.Far.Key, Proof: g.Far.Proof, Initiates: g.Far.Node == ""},
		Operators: slices.Clone(g.Operators),
		Lifetime:  g.Lifetime,
		Idle:      g.Idle,
		Paths:     paths(g.Far.Endpoints),
	}
	for _, o := range g.Operators {
		c.Far.Allowed = append(c.Far.Allowed, o.Address)
		for _, p := range o.Ports {
			if !slices.Contains(c.Ports, p) {
				c.Ports = append(c.Ports, p)
			}
		}
	}
	return c
}

// ForOperator returns all that a grant says of the tunnel of the operator whose
// key it names; of another key it says too little for Up. In an end-to-end grant
// the far end is the device itself.
func ForOperator(g *keys.Grant, key keys.PrivateKey) *Config {
	c := &Config{
		Role:     Operator,
		Key:      key,
		Far:      Peer{Key: g.Far.Key, Allowed: slices.Clone(g.Addresses)},
		Lifetime: g.Lifetime,
		Idle:     -1, // the device and control judge who is idle
	}
	if len(g.Addresses) > 0 {
		c.Far.Proof = g.Addresses[0]
	}
	c.Paths = paths(g.Far.OperatorEndpoints)
	if len(c.Paths) == 0 {
		c.Paths = paths(g.Far.Endpoints)
	}
	if g.Far.Node == "" {
		c.Far.Key, c.Paths = g.Prekey, nil
	}
	public := key.Public()
	for _, o := range g.Operators {
		if o.Key == public {
			c.Addresses, c.Ports = []netip.Addr{o.Address}, slices.Clone(o.Ports)
		}
	}
	return c
}

func paths(endpoints []netip.AddrPort) []Path {
	var ps []Path
	for _, e := range endpoints {
		ps = append(ps, Path{Kind: Direct, Addr: e})
	}
	return ps
}

// copied returns a copy of c with its defaults in place, or what is wrong with it.
func (c *Config) copied() (*Config, error) {
	if c == nil {
		return nil, errors.New("tunnel: no config")
	}
	n := *c
	n.Addresses = slices.Clone(c.Addresses)
	n.Far.Allowed = slices.Clone(c.Far.Allowed)
	n.Paths = slices.Clone(c.Paths)
	n.Operators = slices.Clone(c.Operators)
	n.Ports = slices.Clone(c.Ports)
	n.Services = maps.Clone(c.Services)
	if n.Role == "" {
		n.Role = Device
	}
	if n.Idle == 0 {
		n.Idle = defaultIdle
	}
	if n.Logger == nil {
		n.Logger = zap.NewNop()
	}
	if n.hooks.now == nil {
		n.hooks.now = time.Now
	}
	if n.Far.Proof.IsValid() && !slices.Contains(n.Far.Allowed, n.Far.Proof) {
		n.Far.Allowed = append(n.Far.Allowed, n.Far.Proof)
	}
	return &n, n.check()
}

func (c *Config) check() error {
	switch {
	case c.Key.IsZero():
		return errors.New("tunnel: config has no key")
	case len(c.Addresses) == 0:
		return errors.New("tunnel: config has no address")
	case c.Far.Key.IsZero():
		return errors.New("tunnel: config has no far end")
	case !c.Far.Proof.IsValid():
		return errors.New("tunnel: config has no proof address")
	case c.Role != Device && c.Role != Operator:
		return fmt.Errorf("tunnel: unknown role %q", c.Role)
	case c.Policy != AutoPolicy && c.Policy != RelayOnly && c.Policy != DirectOnly:
		return fmt.Errorf("tunnel: unknown policy %q", c.Policy)
	case c.Mode != Auto && c.Mode != Adapter && c.Mode != Driverless:
		return fmt.Errorf("tunnel: unknown mode %q", c.Mode)
	case c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU):
		return fmt.Errorf("tunnel: MTU %d is not within %d and %d", c.MTU, minMTU, maxMTU)
	}
	for _, a := range slices.Concat(c.Addresses, c.Far.Allowed) {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
			return fmt.Errorf("tunnel: address %v cannot be used in a tunnel", a)
		}
	}
	for _, p := range c.Paths {
		if p.Addr.IsValid() == (p.Open != nil) {
			return errors.New("tunnel: a path has an address or a func to open it")
		}
	}
	if from(c.Addresses, c.Far.Proof) == (netip.Addr{}) {
		return errors.New("tunnel: no address of the proof address's family")
	}
	return nil
}

// from is the own address that packets to a come from.
func from(own []netip.Addr, to netip.Addr) netip.Addr {
	for _, a := range own {
		if a.Is4() == to.Is4() {
			return a
		}
	}
	return netip.Addr{}
}
