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
	EventPath      EventKind = "path"      // packets go another way: Path, Remote
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
	Path      PathKind
	Remote    string        // where packets go: ip:port
	Why       string        // of a state that is not Connected
	RTT       time.Duration // of the echoes, smoothed; 0: unknown
	Loss      float64       // share of the last echoes that were not answered, 0 to 1
	Proved    time.Time     // the newest proof
	Handshake time.Time     // the newest of WireGuard
	Rx, Tx    uint64        // bytes of IP packets that passed the filter
	Dropped   uint64        // packets that it did not let pass
}
