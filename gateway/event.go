package gateway

import (
	"net/netip"
	"sync"
	"time"
)

// The kinds of events.
const (
	KindInstalled = "installed" // a grant is in force; also for one sent again
	KindHandshake = "handshake" // the device's first WireGuard handshake of a key
	KindProved    = "proved"    // the first authenticated packet of the device
	KindRefused   = "refused"   // a grant or down was not obeyed, for Code
	KindClosed    = "closed"    // the session is over here; Code says why, "" is a down
	KindBytes     = "bytes"     // counters, only in reports to control
)

// CodeMoved is the code of a session closed because its grant names another node
// now; CodeExpired of one that reached its end.
const (
	CodeMoved   = "moved"
	CodeExpired = "expired"
)

// Event is something that happened to a session on this node. Rx and Tx are bytes
// of inner packets from and to the device.
type Event struct {
	At      time.Time
	Kind    string
	Session string
	Rev     int
	Code    string
	Rx, Tx  uint64
	From    netip.Addr // the device's public address, with bytes; zero: not known
}

// sightings is what the packet path saw and the node's loop has yet to handle.
// At most a handful a session and key, so it needs no bound of its own.
type sightings struct {
	mu    sync.Mutex
	list  []sighting
	ready chan struct{} // of one
}

type sighting struct {
	kind, session string
	at            time.Time
}

func newSightings() *sightings { return &sightings{ready: make(chan struct{}, 1)} }

// add never blocks on anything but the list itself.
func (s *sightings) add(kind, session string) {
	s.mu.Lock()
	s.list = append(s.list, sighting{kind, session, time.Now()})
	s.mu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *sightings) take() []sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.list
	s.list = nil
	return list
}
