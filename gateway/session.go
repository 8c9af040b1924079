package gateway

import (
	"net/netip"
	"slices"
	"time"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/packet"
	"github.com/boothwire/boothwire/keys"
)

// Session is a snapshot of one session on a node.
type Session struct {
	ID        string
	Rev       int
	Device    string
	Addresses []netip.Addr // the device's
	Operators int
	Installed time.Time // its first grant here
	Handshake time.Time // the device's last new key began one; zero: not yet
	Proved    time.Time // the device's first packet under its key; zero: not yet
	End       time.Time
	Rx, Tx    uint64 // bytes of inner packets from and to the device
}

// held is a session in force.
type held struct {
	grant     *keys.Grant
	relays    []keys.Relay // that came beside it
	installed time.Time
	handshake time.Time
	proved    time.Time
	latest    time.Duration                     // its end on the monotonic clock, as of its last grant
	keys      []keys.PublicKey                  // every key that it ever named
	fresh     bool                              // found again in the journal, and no handshake with the device since
	heard     map[keys.PublicKey]netip.AddrPort // where its peers are, as the journal has it
}

// left is how long the session may last: until its end by the wall clock, but no
// longer than was left when its grant came, should the wall clock be set back.
func (h *held) left(now instant) time.Duration {
	return min(now.until(h.grant.End), h.latest-now.mono)
}

// tombstone remembers a session that is over here, until no grant of it can be
// valid any more.
type tombstone struct {
	until  time.Time
	latest time.Duration // the same on the monotonic clock, as of the last grant
	moved  int           // the rev that named another node; a later one may come back; 0: closed
	keys   []keys.PublicKey

	stranger bool // no grant of it was here
}

// left is how long it has to be remembered: until both clocks say that no grant can
// be valid, for one that was set ahead may be set back.
func (t tombstone) left(now instant) time.Duration {
	return max(now.until(t.until), t.latest-now.mono)
}

// installed turns a grant into what a data plane takes.
func installed(g *keys.Grant) reach.Session {
	s := reach.Session{
		ID:     g.Session,
		Device: reach.Device{Key: g.Prekey, Addresses: slices.Clone(g.Addresses)},
		Up:     int64(g.Up), Down: int64(g.Down), End: g.End,
	}
	for _, o := range g.Operators {
		n := reach.Operator{Key: o.Key, Address: o.Address}
		for _, p := range o.Ports {
			proto := uint8(packet.TCP)
			if p.Proto == "udp" {
				proto = packet.UDP
			}
			n.Ports = append(n.Ports, reach.Port{Proto: proto, Number: p.Number})
		}
		s.Operators = append(s.Operators, n)
	}
	return s
}
