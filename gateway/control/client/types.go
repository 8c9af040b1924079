package client

import (
	"net/netip"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// Seconds is a duration in whole seconds, as fields named *_s hold it.
type Seconds int64

// SecondsOf rounds d up to whole seconds.
func SecondsOf(d time.Duration) Seconds {
	return Seconds((d + time.Second - 1) / time.Second)
}

// Duration returns s as a duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// Micros is a duration in microseconds, as fields named *_us hold it.
type Micros int64

// Duration returns m as a duration.
func (m Micros) Duration() time.Duration { return time.Duration(m) * time.Microsecond }

// Whether a device's next status is due: online, late by no more than a due
// time, or unknown, which is also what a device never heard of is.
const (
	Online  = "online"
	Late    = "late"
	Unknown = "unknown"
)

// Device is one device of the fleet, registered or only heard of.
type Device struct {
	ID       string           `json:"id"`
	Key      keys.IdentityKey `json:"key" doc:"Identity key; empty: not registered"`
	Group    string           `json:"group,omitempty"`
	Gen      int              `json:"gen" doc:"3: registered; 2: only minimal messages were heard"`
	State    signaling.State  `json:"state,omitempty" doc:"What it said of its VPN last"`
	Online   string           `json:"online" enum:"online,late,unknown"`
	LastSeen time.Time        `json:"last_seen,omitzero"`
	Next     time.Time        `json:"next,omitzero" doc:"When its next status is due"`
	Version  string           `json:"version,omitempty"`
	Caps     []string         `json:"caps,omitempty"`
	Address  netip.Addr       `json:"address,omitzero" doc:"In the tunnel; stays with the device"`
	Boot     string           `json:"boot,omitempty" doc:"Names the device's present run"`
	Prekeys  int              `json:"prekeys" doc:"One-time keys at hand"`
	Foreign  string           `json:"foreign,omitempty" doc:"Another identity key under which messages came for this device"`
	Session  string           `json:"session,omitempty" doc:"Its open session"`
	SSH      string           `json:"ssh_host_key,omitempty" doc:"SHA-256 of its SSH host key as the device signed it, written as ssh-keygen -l writes it"`
	RDP      string           `json:"rdp_certificate,omitempty" doc:"SHA-256 of its RDP certificate as the device signed it, in hex"`
	NAT      string           `json:"nat,omitempty" doc:"What its network is, in the terms of RFC 4787: MAPPING/FILTERING, each open, endpoint_independent, address_dependent or address_and_port_dependent (a filtering may be unknown); or translated, ipv6_only or udp_blocked"`
	Trouble  []string         `json:"trouble,omitempty" doc:"Codes of what is wrong, the gravest first: clone, foreign_key, refused, last_failed:CODE, preflight:CHECK, unknown, late, no_prekeys"`

	Preflight []Check `json:"preflight,omitempty" doc:"What it found of its host last; in answers about one device, and absent where its agent does not say"`
}

// Check is what a device found of one thing that a session needs of its host.
type Check struct {
	Check  string `json:"check" doc:"What was checked: ssh, smb, rdp or tcp_PORT for what listens there, rdp_settings, firewall, clock, addresses, driver; a later agent may have more"`
	State  string `json:"state" enum:"ok,warn,fail,unknown" doc:"warn: sessions open, and something in them does not work; fail: they do not open, or reach nothing; unknown: code says why it was not checked"`
	Code   string `json:"code,omitempty" doc:"Why"`
	Detail string `json:"detail,omitempty" doc:"Figures: addresses, networks, times"`
}

// What may be wrong with a device, beside Late and Unknown.
const (
	TroubleClone      = "clone"        // two runs of it were seen within a day
	TroubleForeignKey = "foreign_key"  // another key signed in its name within a day
	TroubleRefused    = "refused"      // it refused a command within 15 minutes, as one whose signer it does not know
	TroubleLastFailed = "last_failed:" // its latest session did, for the code that follows
	TroublePreflight  = "preflight:"   // the check that follows failed on its host
	TroubleNoPrekeys  = "no_prekeys"   // it has to be asked for a key before a session opens
)

// DeviceEvents is what changed of the devices.
type DeviceEvents struct {
	Devices []Device `json:"devices" nullable:"false" doc:"As they are now"`
	Gone    []string `json:"gone" nullable:"false" doc:"Ids of those that are no more, or no longer the caller's to see"`
	Reset   bool     `json:"reset" doc:"All that was known before is void: these and those of the next events are all that there are"`
	More    bool     `json:"more,omitempty" doc:"The next event belongs to this one"`
}

// SessionState is how far a session is.
type SessionState string

// The states of a session. Closed and Failed are final.
const (
	Opening    SessionState = "opening"    // no wake was sent yet
	Connecting SessionState = "connecting" // woken, not yet proved
	Connected  SessionState = "connected"  // proved by device and node
	Degraded   SessionState = "degraded"   // proofs fail at the moment
	Closing    SessionState = "closing"    // down was sent
	Closed     SessionState = "closed"     // ended as planned
	Failed     SessionState = "failed"     // ended for Code
)

// Final reports whether a session in this state is over.
func (s SessionState) Final() bool { return s == Closed || s == Failed }

// Who reported a step of a ladder.
const (
	ByControl = "control"
	ByDevice  = "device"
	ByNode    = "node"
)

// StageWaiting is the step of a session whose device could not be woken at once; its
// Waiting then says how long.
const StageWaiting signaling.Stage = "waiting"

// Step is one step of a session's ladder. A device's own steps count from when it
// received the command, the others from when control was asked.
type Step struct {
	Stage signaling.Stage `json:"stage"`
	After Micros          `json:"after_us"`
	Code  string          `json:"code,omitempty" doc:"Why it failed; empty: it did not"`
	By    string          `json:"by" enum:"control,device,node"`
}

// Operator is one person in a session.
type Operator struct {
	ID      string         `json:"id" doc:"Opaque; the only name that the device sees"`
	User    string         `json:"user"`
	Key     keys.PublicKey `json:"key"`
	Address netip.Addr     `json:"address,omitzero"`
	Ports   []keys.Port    `json:"ports"`
}

// Session is one on-demand connection to a device.
type Session struct {
	ID        string       `json:"id"`
	Rev       int          `json:"rev" doc:"Of its latest grant; 0: none was issued"`
	Device    string       `json:"device"`
	Node      string       `json:"node"`
	State     SessionState `json:"state" enum:"opening,connecting,connected,degraded,closing,closed,failed"`
	Stage     string       `json:"stage,omitempty" doc:"The latest step of the ladder"`
	Ladder    []Step       `json:"ladder"`
	Code      string       `json:"code,omitempty" doc:"Why it failed or ended"`
	Why       string       `json:"why,omitempty" doc:"The device's words about it"`
	Path      string       `json:"path,omitempty" doc:"direct or relay"`
	PathWhy   string       `json:"path_why,omitempty" doc:"The device's words about why it is that path: the candidates or the failure, and what the networks of the device (here) and of the other end (there) are"`
	Paths     PathTimes    `json:"paths,omitzero" doc:"How long packets went by each kind of path, as the device says"`
	Samples   []Sample     `json:"samples,omitempty" maxItems:"64" doc:"How the path was over time, as the device said, the earliest first; in lists only of one device"`
	EndToEnd  bool         `json:"end_to_end,omitempty" doc:"The device and the operator's tool share one key pair; no node takes part"`
	RTT       Micros       `json:"rtt_us,omitempty"`
	Address   netip.Addr   `json:"address,omitzero" doc:"The device's in the tunnel"`
	Operators []Operator   `json:"operators"`
	User      string       `json:"user,omitempty" doc:"Who opened it"`
	Reason    string       `json:"reason,omitempty"`
	Ticket    string       `json:"ticket,omitempty"`
	Moving    bool         `json:"moving,omitempty" doc:"The device is on its way to Node, which its latest grant names; until it is there the node before carries the session"`
	Waiting   *Waiting     `json:"waiting,omitempty" doc:"The device waits for its turn to be woken"`
	Bare      bool         `json:"bare,omitempty" doc:"Begun by the device on a minimal command"`
	Opened    time.Time    `json:"opened"`
	Ends      time.Time    `json:"ends" doc:"At the latest, on the node's clock"`
	Closed    time.Time    `json:"closed,omitzero"`
	Rx        uint64       `json:"rx" doc:"Bytes from the device, by the node's counters; without a node by the device's, about a minute old"`
	Tx        uint64       `json:"tx" doc:"Bytes to the device, likewise"`
	Grant     string       `json:"grant,omitempty" doc:"The latest grant, only in answers to open, extend and renew"`
	Operator  string       `json:"operator,omitempty" doc:"The caller's opaque id, only in answers to open, extend and renew"`
	Relays    []keys.Relay `json:"relays,omitempty" doc:"The caller's own legs, the preferred first, only in answers to open, extend and renew"`
	STUN      []string     `json:"stun,omitempty" doc:"host:port, only in answers to open, extend and renew"`
	Renewal   string       `json:"renewal,omitempty" doc:"Signed word that an end-to-end session goes on, for the device; only in answers to renew"`
}

// Waiting is a place among those whose devices are to shake hands with one node, of
// which it makes so many in a second.
type Waiting struct {
	Position int    `json:"position" doc:"1: the next"`
	For      Micros `json:"for_us" doc:"About how long"`
}

// PathTimes is how long packets went by each kind of path.
type PathTimes struct {
	Direct Seconds `json:"direct_s"`
	Relay  Seconds `json:"relay_s"`
}

// Sample is how a session's path was at a moment.
type Sample struct {
	After    Seconds `json:"after_s" doc:"Since the session was opened"`
	Path     string  `json:"path" doc:"direct or relay"`
	RTT      Micros  `json:"rtt_us"`
	Degraded bool    `json:"degraded,omitempty" doc:"The last proofs failed"`
}

// OpenRequest asks for a session.
type OpenRequest struct {
	Device   string         `json:"device"`
	Key      keys.PublicKey `json:"key" doc:"The operator's one-time WireGuard key"`
	Ports    []keys.Port    `json:"ports,omitempty" doc:"What the operator wants to reach; none: tcp/22"`
	Reason   string         `json:"reason,omitempty" maxLength:"1000"`
	Ticket   string         `json:"ticket,omitempty" maxLength:"100"`
	Lifetime Seconds        `json:"lifetime_s,omitempty" minimum:"0" doc:"0: one hour"`
	Node     string         `json:"node,omitempty" doc:"Empty: control chooses"`
	EndToEnd bool           `json:"end_to_end,omitempty" doc:"No node takes part; the device must be able to"`
	Batch    bool           `json:"batch,omitempty" doc:"One of many: others go first when devices have to wait for their turn"`
}

// OfferRequest carries one sealed offer of candidates.
type OfferRequest struct {
	Sealed string `json:"sealed" minLength:"1" maxLength:"3734" doc:"base64url without padding, of at most 2,800 bytes"`
}

// Offer is a device's sealed offer, as its stream has it.
type Offer struct {
	Sealed string `json:"sealed" doc:"base64url without padding"`
}

// Revocation names a session that is over.
type Revocation struct {
	Session string `json:"session"`
}

// ExtendRequest prolongs a session.
type ExtendRequest struct {
	Lifetime Seconds `json:"lifetime_s" minimum:"1" doc:"From now"`
}

// Node is one gateway.
type Node struct {
	Name      string           `json:"name"`
	Identity  keys.IdentityKey `json:"identity" doc:"Of its certificate; empty: not enrolled yet"`
	Key       keys.PublicKey   `json:"key" doc:"Its WireGuard key"`
	State     string           `json:"state" enum:"claimed,connected,disconnected,lost" doc:"Lost: it has said nothing for 15 s, and its sessions go elsewhere"`
	Endpoints []netip.AddrPort `json:"endpoints"`
	Proof     netip.Addr       `json:"proof,omitzero" doc:"Its address in the tunnel"`
	Sessions  int              `json:"sessions"`
	LastSeen  time.Time        `json:"last_seen,omitzero"`
	Version   string           `json:"version,omitempty"`
	Region    string           `json:"region,omitempty" doc:"Whose devices it gets first"`
	Capacity  int              `json:"capacity,omitempty" doc:"Sessions that it may hold, as it says"`
	Draining  bool             `json:"draining,omitempty" doc:"It gets no new sessions"`
	Moving    bool             `json:"moving,omitempty" doc:"Those that it has are moved to other nodes"`
	Leaving   int              `json:"leaving,omitempty" doc:"Sessions that it carries until their devices are at other nodes"`
}

// DrainRequest says what becomes of a node.
type DrainRequest struct {
	Draining bool `json:"draining" doc:"It gets no new sessions"`
	Move     bool `json:"move,omitempty" doc:"Those that it has are moved to other nodes; otherwise they end where they are"`
}

// Claim lets one node enrol, once.
type Claim struct {
	Node    string    `json:"node"`
	Claim   string    `json:"claim" doc:"Given to the node; shown only here"`
	Expires time.Time `json:"expires"`
}

// Audit is one thing worth remembering. Refusals are counted per device, code and
// minute.
type Audit struct {
	ID      int64     `json:"id"`
	At      time.Time `json:"at"`
	Who     string    `json:"who" doc:"A user, a device, a node or control"`
	What    string    `json:"what"`
	Device  string    `json:"device,omitempty"`
	Session string    `json:"session,omitempty"`
	Node    string    `json:"node,omitempty"`
	Code    string    `json:"code,omitempty"`
	Count   int       `json:"count"`
	Detail  string    `json:"detail,omitempty"`
	Rx      uint64    `json:"rx,omitempty" doc:"Of a session that is over: bytes from the device"`
	Tx      uint64    `json:"tx,omitempty" doc:"Bytes to the device, likewise"`
}

// Trust is what devices and nodes are configured with.
type Trust struct {
	Issuer string   `json:"issuer"`
	Roots  []string `json:"roots"`
}

// Token is a bearer token of the API; its secret is shown once.
type Token struct {
	ID      string    `json:"id"`
	User    string    `json:"user"`
	Role    string    `json:"role" enum:"viewer,operator,approver,admin,relay"`
	Groups  []string  `json:"groups,omitempty" doc:"Device groups that it may see; none: all"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	Secret  string    `json:"secret,omitempty" doc:"Only in the answer to its creation"`
}

// TokenRequest asks for a token.
type TokenRequest struct {
	User     string   `json:"user" minLength:"1" maxLength:"100"`
	Role     string   `json:"role" enum:"viewer,operator,approver,admin,relay"`
	Groups   []string `json:"groups,omitempty"`
	Lifetime Seconds  `json:"lifetime_s,omitempty" minimum:"0" doc:"0: until it is deleted"`
}

// DeviceRequest registers or changes a device.
type DeviceRequest struct {
	Key   keys.IdentityKey `json:"key" doc:"As the agent prints it"`
	Group string           `json:"group,omitempty" maxLength:"64"`
}

// Import says what an import did.
type Import struct {
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Same    int `json:"same"`
}
