package reach

import (
	"net/netip"
	"time"
)

// Port is one port that an operator may reach; Proto is packet.TCP or packet.UDP.
type Port struct {
	Proto  uint8
	Number uint16
}

// Device is a session's device end: its WireGuard key and tunnel addresses.
type Device struct {
	Key       [32]byte
	Addresses []netip.Addr
}

// Operator is one operator of a session.
type Operator struct {
	Key     [32]byte
	Address netip.Addr
	Ports   []Port
}

// Session is what a data plane installs: who the ends are, who may reach what, how
// fast, and when it is over by the node's clock.
type Session struct {
	ID        string
	Device    Device
	Operators []Operator
	Up, Down  int64 // bit/s from the device and to it, at most; 0: no limit
	End       time.Time
	// Resumed says that its operators' connections may have begun before it was installed
	// here: at another node, or in a former process. It counts for those operators only,
	// and not for a session that is changed.
	Resumed bool
}

// Counters are the bytes of inner packets that a session passed: Rx from its
// device, Tx to it. Echoes to the node itself are left out.
type Counters struct{ Rx, Tx uint64 }
