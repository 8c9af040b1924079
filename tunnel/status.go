package tunnel

import (
	"net/netip"
	"time"
)

// A State is what a tunnel is at the moment; the words are signaling's.
type State string

const (
	Connecting    State = "connecting"    // no echo was answered yet
	Connected     State = "connected"     // proved, and nothing speaks against it
	Degraded      State = "degraded"      // packets stay unanswered
	Disconnecting State = "disconnecting" // Close, or an end, is under way
	Disconnected  State = "disconnected"  // ended as planned
	Failed        State = "failed"        // ended by an error
)

// An EventKind is what an Event tells; most are signaling's stages.
type EventKind string

const (
	EventSocket    EventKind = "socket"    // the UDP socket and the adapter or stack are there
	EventHandshake EventKind = "handshake" // WireGuard has a session with the far end
	EventProved    EventKind = "proved"    // an echo came back, for the first time or again
	EventReady     EventKind = "ready"     // proved, and forwards or routes in place
	EventPath      EventKind = "path"      // packets go another way: Path, and Remote if it is an address
	EventWhy       EventKind = "why"       // more is known of why it is this path, or another thing: Status.Why
	EventUnproved  EventKind = "unproved"  // packets stay unanswered
	EventRepair    EventKind = "repair"    // the peer was taken out and put in again
	EventNetwork   EventKind = "network"   // the host's addresses changed
	EventClock     EventKind = "clock"     // the wall clock was set: time for a fresh key
	EventMTU       EventKind = "mtu"       // an echo showed another MTU
	EventWarning   EventKind = "warning"   // Err says what, the tunnel goes on
	EventClosing   EventKind = "closing"
	EventClosed    EventKind = "closed" // the last; Err as Tunnel.Err
)

// An Event is one thing that happened to a tunnel.
type Event struct {
	At     time.Time
	Kind   EventKind
	Path   PathKind       // of EventPath
	Remote netip.AddrPort // of EventPath
	Err    error
}

// A Status is a snapshot of a tunnel.
type Status struct {
	State     State
	Since     time.Time // of the state
	Addresses []netip.Addr
	Mode      Mode          // Adapter or Driverless, never Auto
	Name      string        // of the adapter
	MTU       int           // bytes
	Left      time.Duration // of the lifetime; 0 with no limit
	Path      PathKind      // of the present path
	Remote    string        // where packets go: ip:port
	Why       string        // of a state that is not Connected; of Connected, why it is this path, if there are others
	RTT       time.Duration // of the present path's checks, or else of the tunnel's echoes, smoothed; 0: unknown
	Loss      float64       // share of the last checks, or echoes, that were not answered, 0 to 1
	Ways      []Way         // all that there are in the config, the preferred first
	Proved    time.Time     // the newest proof
	Handshake time.Time     // the newest of WireGuard
	Rx, Tx    uint64        // bytes of IP packets that passed the filter
	Spent     PathTimes     // since the first proof
	Dropped   uint64        // packets that it did not let pass
}

// States of a Way.
const (
	WayOff      = "off"      // the policy excludes it
	WayOpening  = "opening"  // its Open looks for it
	WayFailed   = "failed"   // it could not be opened, or was lost; Open is called again
	WayTrying   = "trying"   // it is there, and nothing came back by it yet
	WayReady    = "ready"    // it works and stands by
	WayCarrying = "carrying" // it works and packets go by it
	WayDoubted  = "doubted"  // a check was lost, or packets stay unanswered
	WayLeft     = "left"     // it was given up, and has to prove itself again
)

// A Way is one path of the config, as it is now.
type Way struct {
	Name   string // of the config
	Kind   PathKind
	Remote string // ip:port, empty while it is not open
	State  string // one of the Way constants

	// Code is why it failed or was left: of Open's error, or "no_reply" (checks
	// unanswered), "silent" (checks passed, packets did not), "loss" or "slow" (a
	// relay does better).
	Code string

	Why   string        // what its connection says of itself, or what is known of its failure
	RTT   time.Duration // of its checks, smoothed; 0: unknown
	Loss  float64       // share of the last checks that were lost, 0 to 1
	Since time.Time     // of the state
	Spent time.Duration // how long packets went by it
}
