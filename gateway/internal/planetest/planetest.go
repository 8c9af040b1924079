package planetest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// Plane is a data plane as a node has it.
type Plane interface {
	Set(s reach.Session) error
	Remove(session string) reach.Counters
	Counters(session string) reach.Counters
	SetPool(pool netip.Prefix, proof netip.Addr)
	Ports() (devices, operators uint16, err error)
	Drops() map[string]uint64
	Passed() (forwarded, echoes uint64)
	Close() error
}

// Config is what a case asks of the plane that it has opened.
type Config struct {
	PrivateKey [32]byte             // the node's
	Proof      netip.Addr           // where it answers echoes
	MTU        int                  // of the tunnels
	Uplink     int64                // bit/s of all sessions in each direction; 0: no limit
	Patience   time.Duration        // for a new device key to prove itself
	Handshake  func(session string) // the device shook hands; must not block
	Proved     func(session string) // first authenticated packet of the device; must not block
}

// Subject is a plane to try.
type Subject struct {
	// Open opens a plane without sessions, on ports of its own choice; it fails t
	// where it cannot.
	Open func(t testing.TB, cfg Config) Plane
	// Gone fails t if anything of a plane's is left after its Close. nil: there is
	// nothing beyond goroutines, which the suite looks at itself.
	Gone func(t testing.TB)
	// NoFlows says that the filter knows no flows: what a device sends to its
	// operator from a granted port passes whether or not he began (but never a bare
	// SYN), and so does an echo reply. A pair of stateless rules is such a filter;
	// it needs no conntrack, and cuts a live connection by itself.
	NoFlows bool
	// Slow says that the machine is emulated: cases of many sessions have fewer.
	Slow bool
}

// Run tries s by every case but those of Rates.
func Run(t *testing.T, s Subject) {
	try(t, s, []testCase{
		{"Open", open},
		{"Again", again},
		{"Operators", operators},
		{"Ports", ports},
		{"Remove", remove},
		{"DeviceKey", deviceKey},
		{"DeviceKeyPatience", deviceKeyPatience},
		{"End", end},
		{"Counters", counters},
		{"SegmentSize", segmentSize},
		{"AddressesInUse", addressesInUse},
		{"Proof", proof},
		{"Close", closed},
		{"Thousand", thousand},
		{"Attacks", attacks},
	})
}

// Rates tries how fast s lets sessions be.
func Rates(t *testing.T, s Subject) {
	try(t, s, []testCase{{"RateDown", rateDown}, {"RateUp", rateUp}, {"Uplink", uplink}})
}

type testCase struct {
	name string
	run  func(t *testing.T, s Subject)
}

func try(t *testing.T, s Subject, cases []testCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
}
