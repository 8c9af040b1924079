package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
	"github.com/boothwire/boothwire/keys"
	"go.uber.org/zap"
)

// User is who calls the API.
type User = auth.User

// Role is what a user may do; each includes those before it.
type Role = auth.Role

// The roles, the lowest first.
const (
	Viewer   = auth.Viewer   // sees devices, sessions and nodes of his groups
	Operator = auth.Operator // opens sessions, and changes his own
	Approver = auth.Approver // changes the sessions of others, reads the audit
	Admin    = auth.Admin    // registers devices, nodes and tokens

	// RelayRole is none of them: a relay follows which sessions are over.
	RelayRole = auth.Relay
)

// Config of a Control. Its zero value works, but for Store.
type Config struct {
	// Store holds the keys that sign, never the database: "root", "signer" and
	// "record", made at the first start. Where "root" is kept offline, the other two
	// must be there. Required.
	Store keys.Store
	// Issuer is the deployment's name; default keys.DefaultIssuer.
	Issuer string
	// RootList is the payload of a roots command, {"lists":[...]}, which devices are
	// sent until they say that they have it; empty: none.
	RootList []byte

	// User tells who sent a request that has no bearer token; an error refuses it.
	// Default: such requests are refused.
	User func(*http.Request) (User, error)
	// MayOpen is asked last, before a session opens or is joined; the engineer reads
	// its error. It may change r. Default: yes.
	MayOpen func(ctx context.Context, u User, device string, r *client.OpenRequest) error
	// RequireReason and RequireTicket refuse to open without them.
	RequireReason, RequireTicket bool
	// Exclusive makes a second operator's open busy, where else he joins.
	Exclusive bool
	// Kind is which kind of session is opened: KindNode, KindEndToEnd, or, empty, what
	// the engineer asks for.
	Kind string
	// Bare says what a device may begin on a minimal command. Default: nothing.
	Bare BarePolicy

	Pool     netip.Prefix  // of tunnel addresses, IPv4; default 10.166.0.0/16
	Relays   []Relay       // the preferred first, for grants; default none
	STUN     []string      // host:port, for grants; default none
	Lifetime time.Duration // of a session when none is asked for; default 1 h
	Longest  time.Duration // at most; default 8 h, and no more than MostLongest
	Idle     time.Duration // without operators' packets; default 15 min
	Renewal  time.Duration // of an end-to-end session, until it is renewed; default 5 min, at least 1 min
	Up, Down keys.Rate     // of a device, bit/s; default unlimited

	// Wakes is how many devices are woken in a second to shake hands with one node; the
	// others wait for their turn. Default 300; negative: all at once.
	Wakes int
	// Regions are the regions of groups of devices, which get nodes of theirs as long as
	// one has room. A group that is not in it is a region by its own name.
	Regions map[string]string

	// Pin is the base64url SHA-256 of the public key in the certificate that nodes see
	// (its SPKI, RFC 7469 section 2.4), and goes into claims; empty: they verify its chain.
	Pin string
	// URL is where the other control processes on the same PostgreSQL database reach
	// this one, such as "https://10.0.0.5:443", and URLPin the base64url SHA-256 of the
	// public key in the certificate that it shows there; empty: they verify its chain.
	URL, URLPin string
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Logger; nil is silent.
	Logger *zap.Logger

	ready time.Duration // that the database may take to answer; default readyTimeout
}

// The kinds of sessions: through a node, which filters, shapes and counts, and could
// read; or between the device and the operator's own tool, which nobody else can.
const (
	KindNode     = "node"
	KindEndToEnd = "end_to_end"
)

// Relay is a relay that carries what finds no direct way. It learns from signed
// tokens who may meet there, and reads nothing.
type Relay struct {
	Name string         // as tokens name it
	URL  string         // "https://host:port/relay"
	Key  keys.PublicKey // X25519
}

// The most relays and STUN servers that a grant has room for.
const (
	maxRelays = 8
	maxSTUN   = 8
)

// BarePolicy says what comes of a device's request that a minimal, unsigned vpn_up
// made it send. A session that it begins has the standing operators, or none until
// an engineer joins.
type BarePolicy struct {
	Nodes    []string      // that may be asked for; none: every request is refused
	Lifetime time.Duration // default Config.Lifetime
	Standing []Standing
	// Allow is asked last; default: yes.
	Allow func(ctx context.Context, device, node string) error
}

// Standing is an operator of every session that a device began: a Gen-2 back end's
// own tool, for one, whose key does not change.
type Standing struct {
	User  string
	Key   keys.PublicKey
	Ports []keys.Port
}

// MostLongest is how far Config.Longest may go: a node that hears of the end of a
// session before it had a grant of it remembers that for a day.
const MostLongest = 24 * time.Hour

const (
	defaultPool     = "10.166.0.0/16"
	defaultLifetime = time.Hour
	defaultLongest  = 8 * time.Hour
	defaultIdle     = 15 * time.Minute
	defaultRenewal  = 5 * time.Minute
	// defaultWakes is what one core of a node makes in a second with room to spare; at
	// this pace every device connected at its first try.
	defaultWakes = 300
)

func (cfg *Config) settled() (Config, error) {
	var c Config
	if cfg != nil {
		c = *cfg
	}
	if c.Store == nil {
		return c, errors.New("control: a Store for the signing keys is required")
	}
	if c.Issuer == "" {
		c.Issuer = keys.DefaultIssuer
	}
	if !c.Pool.IsValid() {
		c.Pool = netip.MustParsePrefix(defaultPool)
	}
	switch c.Kind {
	case "", KindNode, KindEndToEnd:
	default:
		return c, errors.New("control: an unknown Kind of sessions")
	}
	if err := checkWays(c.Relays, c.STUN); err != nil {
		return c, fmt.Errorf("control: %w", err)
	}
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&c.Longest, defaultLongest)
	if c.Longest > MostLongest {
		return c, fmt.Errorf("control: sessions of %v: at most %v", c.Longest, MostLongest)
	}
	set(&c.Lifetime, min(defaultLifetime, c.Longest))
	set(&c.Idle, defaultIdle)
	set(&c.Renewal, defaultRenewal)
	c.Renewal = max(c.Renewal, time.Minute)
	set(&c.Bare.Lifetime, c.Lifetime)
	if c.Wakes == 0 {
		c.Wakes = defaultWakes
	}
	c.Regions = maps.Clone(c.Regions)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c, nil
}
