package keys

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The kinds of signed objects: the typ of a JWS header.
const (
	TypeGrant   = "bw-grant"   // control: one session's permission
	TypeAsk     = "bw-ask"     // control: publish one prekey
	TypeRenew   = "bw-renew"   // control: a device-operator grant goes on
	TypeDown    = "bw-down"    // control: end a session
	TypeRelay   = "bw-relay"   // control: one end's leg at a relay
	TypeSigner  = "bw-signer"  // root: the record of an online signer
	TypeRoots   = "bw-roots"   // root: the next list of roots
	TypePrekeys = "bw-prekeys" // device: a batch of one-time keys
	TypeAnswer  = "bw-answer"  // device: one prekey for one ask
	TypeStatus  = "bw-status"  // device: its state
	TypeReply   = "bw-reply"   // device: what came of one command
	TypeRequest = "bw-request" // device: a session, please
)

// DefaultIssuer is the deployment's name where none is given.
const DefaultIssuer = "boothwire"

// ValidID reports whether s may name a device, node or session: 1 to 64 of
// letters, digits, '.', '_' and '-'.
func ValidID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// NewID returns 16 random bytes as 26 characters of lower-case base32hex, the
// form of session ids, boot ids and nonces.
func NewID() string {
	var b [16]byte
	rand.Read(b[:])
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// Rate is a speed in bit/s; 0 is no limit.
type Rate int64

// Port is a transport port of a device, written "tcp/22".
type Port struct {
	Proto  string // "tcp" or "udp"
	Number uint16
}

// TCP returns the TCP port n.
func TCP(n uint16) Port { return Port{"tcp", n} }

// UDP returns the UDP port n.
func UDP(n uint16) Port { return Port{"udp", n} }

// ParsePort reads what String writes.
func ParsePort(s string) (Port, error) {
	proto, number, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	if p := (Port{proto, uint16(n)}); err == nil && p.valid() && p.String() == s {
		return p, nil
	}
	return Port{}, fmt.Errorf("keys: a port is written tcp/22 or udp/53")
}

func (p Port) valid() bool { return (p.Proto == "tcp" || p.Proto == "udp") && p.Number != 0 }

// String returns the port as "tcp/22".
func (p Port) String() string { return p.Proto + "/" + strconv.Itoa(int(p.Number)) }

// MarshalText implements encoding.TextMarshaler.
func (p Port) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Port) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePort(string(text))
	return err
}

// FarEnd holds the other key of a device's tunnel.
type FarEnd struct {
	Node              string           `json:"node,omitempty"` // empty: an operator's own tool
	Key               PublicKey        `json:"key"`
	Endpoints         []netip.AddrPort `json:"endpoints,omitempty"`          // for the device
	OperatorEndpoints []netip.AddrPort `json:"operator_endpoints,omitempty"` // for operators; none: as Endpoints
	Proof             netip.Addr       `json:"proof"`                        // its address in the tunnel, which answers echoes
}

// Operator is one person's way in: a one-time WireGuard key, its address in
// the tunnel and the ports that it may reach.
type Operator struct {
	ID      string     `json:"id"` // opaque to devices
	Key     PublicKey  `json:"key"`
	Address netip.Addr `json:"address"`
	Ports   []Port     `json:"ports,omitempty"`
}

// Relay is one end's leg at a relay.
type Relay struct {
	URL   string    `json:"url"`
	Key   PublicKey `json:"key"`
	Token string    `json:"token"`
}
