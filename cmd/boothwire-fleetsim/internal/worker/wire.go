package worker

import (
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-fleetsim/internal/parts"
)

// A Brief is the first line that a worker reads.
type Brief struct {
	Devices   []string
	First     int // the number of the first device in the fleet
	Addresses int // of loopback that the whole fleet has; 0: one for each device
	Broker    parts.Broker
	Roots     []string
	Issuer    string
	Profile   string // address of /debug/pprof; "": none
}

// An order is each later line.
type order struct {
	Connect time.Duration // within which all devices connect to the broker
}

// A word is what a worker says.
type word struct {
	Keys    map[string]string `json:",omitempty"` // identity keys by device, once
	Figures *Figures          `json:",omitempty"` // each second
}

// Figures are what the devices have seen.
type Figures struct {
	Online   int `json:"online"`   // lines that are up
	Open     int `json:"open"`     // sessions that were proved and are not over
	Opened   int `json:"opened"`   // sessions that were proved
	Closed   int `json:"closed"`   // of those, as planned
	Lost     int `json:"lost"`     // of those, for a fault
	Failed   int `json:"failed"`   // sessions that were never proved
	Degraded int `json:"degraded"` // times that a proof failed for a while
	Refused  int `json:"refused"`  // commands
	Dropped  int `json:"dropped"`  // times that a line was lost
}

// Add adds another worker's.
func (f *Figures) Add(o Figures) {
	f.Online += o.Online
	f.Open += o.Open
	f.Opened += o.Opened
	f.Closed += o.Closed
	f.Lost += o.Lost
	f.Failed += o.Failed
	f.Degraded += o.Degraded
	f.Refused += o.Refused
	f.Dropped += o.Dropped
}
