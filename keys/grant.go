package keys

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"time"
)

// GrantVersion is the V of grants that this release signs.
const GrantVersion = 1

// Grant is control's permission for one session of one device, in one of its
// revisions. On the wire durations are whole seconds (lifetime_s, idle_s) and
// End is Unix seconds.
type Grant struct {
	V         int          `json:"v"`              // GrantVersion; Sign fills a 0 in
	Caps      []string     `json:"caps,omitempty"` // what control can do beyond V
	Session   string       `json:"session"`        // as ValidID has it
	Rev       int          `json:"rev"`            // from 1, rises within the session
	Device    string       `json:"device"`         // who is opened
	Boot      string       `json:"boot,omitempty"` // that Prekey belongs to; empty: unknown
	Re        string       `json:"re,omitempty"`   // nonce of the request that it answers
	Prekey    PublicKey    `json:"prekey"`         // the device's key
	Addresses []netip.Addr `json:"addresses"`      // the device's in the tunnel
	Far       FarEnd       `json:"far"`            // the other end of the tunnel
	Operators []Operator   `json:"operators"`      // who may come in, and where to
	Relays    []Relay      `json:"relays,omitempty"`
	STUN      []string     `json:"stun,omitempty"` // host:port
	Up        Rate         `json:"up,omitempty"`   // from the device
	Down      Rate         `json:"down,omitempty"` // to the device

	// Lifetime is how long the session may last, counted on a monotonic clock
	// from the acceptance of its first revision; Idle is how long it lasts
	// without packets of operators, 0 for the default of 15 minutes.
	Lifetime time.Duration `json:"-"`
	Idle     time.Duration `json:"-"`
	// End is the absolute end for the clocks of nodes and relays. Devices,
	// whose clocks are not trusted, ignore it.
	End time.Time `json:"-"`

	Crit []string `json:"crit,omitempty"` // fields that must be understood
}

type grantFields Grant

// grantWire is a Grant as it travels.
type grantWire struct {
	grantFields
	Lifetime int64 `json:"lifetime_s"`
	Idle     int64 `json:"idle_s,omitempty"`
	End      int64 `json:"end,omitempty"`
}

// MarshalJSON writes g as the payload of its token.
func (g Grant) MarshalJSON() ([]byte, error) {
	w := grantWire{grantFields: grantFields(g), Lifetime: int64(g.Lifetime / time.Second), Idle: int64(g.Idle / time.Second)}
	if w.Operators == nil {
		w.Operators = []Operator{}
	}
	if !g.End.IsZero() {
		w.End = g.End.Unix()
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON writes, strictly.
func (g *Grant) UnmarshalJSON(b []byte) error {
	d, err := decodeGrant(b)
	if err == nil {
		*g = *d
	}
	return err
}

// decodeGrant reads the payload of a grant and checks that it makes sense.
func decodeGrant(payload []byte) (*Grant, error) {
	var w grantWire
	if err := decode(payload, &w); err != nil {
		return nil, err
	}
	const most = int64(math.MaxInt64 / time.Second)
	if w.Lifetime < 0 || w.Lifetime > most || w.Idle < 0 || w.Idle > most || w.End < 0 {
		return nil, refuse(ReasonMalformed, "a time out of range")
	}
	g := Grant(w.grantFields)
	g.Lifetime, g.Idle = time.Duration(w.Lifetime)*time.Second, time.Duration(w.Idle)*time.Second
	if w.End != 0 {
		g.End = time.Unix(w.End, 0).UTC()
	}
	return &g, g.check()
}

// check says what no verifier could use.
func (g *Grant) check() error {
	bad := func(what string) error { return refuse(ReasonMalformed, "a grant %s", what) }
	switch {
	case g.V < 1:
		return bad("without a version")
	case !ValidID(g.Session):
		return bad("without a session")
	case g.Rev < 1:
		return bad("without a revision")
	case !ValidID(g.Device):
		return bad("without a device")
	case g.Prekey.IsZero() || g.Far.Key.IsZero() || g.Prekey == g.Far.Key:
		return bad("without two keys")
	case g.Far.Node != "" && !ValidID(g.Far.Node):
		return bad("with a wrong node")
	case len(g.Addresses) == 0 || slices.ContainsFunc(g.Addresses, unusable) || unusable(g.Far.Proof) || slices.Contains(g.Addresses, g.Far.Proof):
		return bad("without usable addresses")
	case slices.ContainsFunc(slices.Concat(g.Far.Endpoints, g.Far.OperatorEndpoints), func(a netip.AddrPort) bool { return !a.IsValid() || a.Port() == 0 }):
		return bad("with a wrong endpoint")
	case g.Lifetime < time.Second || g.Idle < 0 || g.Up < 0 || g.Down < 0:
		return bad("with a number out of range")
	}
	taken := slices.Clone(g.Addresses)
	for _, o := range g.Operators {
		if !ValidID(o.ID) || o.Key.IsZero() || unusable(o.Address) || slices.Contains(taken, o.Address) ||
			g.Far.Node != "" && o.Address == g.Far.Proof {
			return bad("with a wrong operator")
		}
		taken = append(taken, o.Address)
		if slices.ContainsFunc(o.Ports, func(p Port) bool { return !p.valid() }) {
			return bad("with a wrong port")
		}
	}
	return nil
}

// unusable reports whether a cannot be one host's address in a tunnel.
// Loopback addresses are among them: a packet "from 127.0.0.1" would pass as
// the device's own.
func unusable(a netip.Addr) bool {
	return !a.IsValid() || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() ||
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// Sign makes the token of g. Errors are *GrantError.
func (g *Grant) Sign(s *Signer) ([]byte, error) {
	c := *g
	if c.V == 0 {
		c.V = GrantVersion
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return nil, refuse(ReasonMalformed, "%w", err)
	}
	return s.Sign(TypeGrant, payload)
}

// ForNode checks what is a node's to check: that g names it and its key, and
// that g's absolute end is set and after now. Errors are *GrantError.
func (g *Grant) ForNode(name string, key PublicKey, now time.Time) error {
	switch {
	case g.Far.Node != name || g.Far.Key != key:
		return refuse(ReasonWrongNode, "for another node")
	case g.End.IsZero() || !now.Before(g.End):
		return refuse(ReasonExpired, "past its end")
	}
	return nil
}

// ICESecret returns 32 bytes that only the two ends of g's tunnel can know:
// HKDF-SHA256 (RFC 5869) of the X25519 of both keys, bound to the session. key
// is the caller's; the result is nil when it is neither end's.
func (g *Grant) ICESecret(key PrivateKey) []byte {
	var peer PublicKey
	switch key.Public() {
	case PublicKey{}:
		return nil
	case g.Prekey:
		peer = g.Far.Key
	case g.Far.Key:
		peer = g.Prekey
	default:
		return nil
	}
	shared, err := key.shared(peer)
	if err != nil {
		return nil
	}
	defer clear(shared)
	// Both public keys are bound in, as RFC 7748 section 6.1 advises.
	salt := slices.Concat(g.Prekey[:], g.Far.Key[:])
	out, err := hkdf.Key(sha256.New, shared, salt, "boothwire ice v1 "+g.Session, 32)
	if err != nil {
		return nil
	}
	return out
}
