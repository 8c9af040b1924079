//go:build linux

package e2e

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
)

// punchable are the kinds whose outer address and port are the same for whoever
// looks: each reaches each by ICE.
var punchable = []netlab.Kind{netlab.Open, netlab.FullCone, netlab.AddressRestricted, netlab.PortRestricted, netlab.DoubleNAT}

// hearsOtherPorts are those of them that let in what comes from another port than
// was sent to, or that need not be sent to.
var hearsOtherPorts = []netlab.Kind{netlab.Open, netlab.FullCone, netlab.AddressRestricted}

// noUDP are the kinds that need a relay to reach anybody, a node too.
var noUDP = []netlab.Kind{netlab.UDPBlocked, netlab.OnlyTCP443, netlab.OnlyProxy}

// direct says whether two kinds have a path between them without a relay, by what
// RFC 5245 can do; which of them dials does not matter.
//
// An address that a STUN server saw is right for the far end too where the
// mapping is endpoint-independent, and once both have sent to each other's, every
// filter is open. A symmetric NAT shows the far end a port of which nobody told:
// its checks pass if the far end's filter looks at addresses alone, and the
// answers find the way back to the port that they came from (a peer-reflexive
// candidate). A filter that looks at ports drops them, and the far end's own
// checks go to a port that the symmetric NAT has for the STUN server alone.
func direct(a, b netlab.Kind) bool {
	has := slices.Contains[[]netlab.Kind]
	switch {
	case has(punchable, a) && has(punchable, b):
		return true
	case a == netlab.Symmetric:
		return has(hearsOtherPorts, b)
	case b == netlab.Symmetric:
		return has(hearsOtherPorts, a)
	}
	return a == netlab.OnlyIPv6 && b == netlab.OnlyIPv6
}

// A pair is who wants to reach whom. With a node between them, each of them goes to
// the node, and has a path of his own.
type pair struct {
	device, operator netlab.Kind
	node             bool
}

func (p pair) String() string {
	if p.node {
		return fmt.Sprintf("%s and %s through a node", p.device, p.operator)
	}
	return fmt.Sprintf("%s and %s", p.device, p.operator)
}

// want is what both ends' paths should be.
func (p pair) want() paths {
	word := func(direct bool) string {
		if direct {
			return "direct"
		}
		return "relay"
	}
	if p.node {
		return paths{word(!slices.Contains(noUDP, p.device)), word(!slices.Contains(noUDP, p.operator))}
	}
	both := word(direct(p.device, p.operator))
	return paths{both, both}
}

// allPairs is the matrix, end to end. The order keeps the same device, and the same
// operator, from coming soon again.
func allPairs() []pair {
	kinds := netlab.Matrix()
	var all []pair
	for shift := range kinds {
		for i, d := range kinds {
			all = append(all, pair{device: d, operator: kinds[(i+shift)%len(kinds)]})
		}
	}
	return all
}

// nodePairs have every kind on each side of a node, with an open one on the other,
// and on both sides.
func nodePairs() []pair {
	var all []pair
	for _, kind := range netlab.Matrix() {
		all = append(all, pair{kind, netlab.Open, true})
	}
	for _, kind := range netlab.Matrix()[1:] {
		all = append(all, pair{netlab.Open, kind, true})
	}
	for _, kind := range netlab.Matrix()[1:] {
		all = append(all, pair{kind, kind, true})
	}
	return all
}

// spread is what every run of the tests plays: end to end each kind with itself, the
// direct pairs that differ in how they come about, and a relay's for each kind on
// each side; through a node what is odd.
func spread() []pair {
	var all []pair
	for _, k := range netlab.Matrix() {
		all = append(all, pair{device: k, operator: k})
	}
	for _, p := range [][2]netlab.Kind{
		{netlab.Open, netlab.PortRestricted}, {netlab.FullCone, netlab.DoubleNAT}, {netlab.AddressRestricted, netlab.PortRestricted},
		{netlab.PortRestricted, netlab.DoubleNAT}, {netlab.DoubleNAT, netlab.AddressRestricted},
		{netlab.Symmetric, netlab.Open}, {netlab.Symmetric, netlab.FullCone}, {netlab.Symmetric, netlab.AddressRestricted},
		{netlab.Open, netlab.Symmetric}, {netlab.FullCone, netlab.Symmetric}, {netlab.AddressRestricted, netlab.Symmetric},
		{netlab.Symmetric, netlab.PortRestricted}, {netlab.DoubleNAT, netlab.Symmetric},
		{netlab.UDPBlocked, netlab.Open}, {netlab.FullCone, netlab.UDPBlocked},
		{netlab.OnlyTCP443, netlab.AddressRestricted}, {netlab.Open, netlab.OnlyTCP443}, {netlab.OnlyTCP443, netlab.OnlyProxy},
		{netlab.OnlyProxy, netlab.DoubleNAT}, {netlab.PortRestricted, netlab.OnlyProxy},
		{netlab.OnlyIPv6, netlab.Open}, {netlab.OnlyProxy, netlab.OnlyIPv6}, {netlab.OnlyIPv6, netlab.Symmetric},
	} {
		all = append(all, pair{device: p[0], operator: p[1]})
	}
	odd := append([]netlab.Kind{netlab.OnlyIPv6, netlab.Symmetric}, noUDP...)
	for _, p := range nodePairs() {
		if slices.Contains(odd, p.device) || slices.Contains(odd, p.operator) {
			all = append(all, p)
		}
	}
	return all
}

func TestMatrixIsWhatIsExpected(t *testing.T) {
	var n int
	for _, p := range allPairs() {
		if direct(p.device, p.operator) {
			n++
		}
		if direct(p.device, p.operator) != direct(p.operator, p.device) {
			t.Errorf("%s depends on who dials", p)
		}
	}
	if all := allPairs(); len(all) != 100 || n != 32 {
		t.Errorf("%d of %d pairs are direct, want 32 of 100", n, len(all))
	}
	seen, node := make(map[pair]bool), 0
	for _, p := range spread() {
		if seen[p] {
			t.Errorf("the spread has %s twice", p)
		}
		seen[p] = true
		if p.node {
			node++
		}
	}
	if len(seen)-node < 25 || node < 8 {
		t.Errorf("the spread has %d pairs and %d through a node", len(seen)-node, node)
	}
}

// matrixEnv makes TestMatrix play every pair and write docs/NAT.md.
const matrixEnv = "BOOTHWIRE_MATRIX"

// TestMatrix connects operators and devices of every kind with the real programs, end
// to end and through a node: all become ready, and each has a direct path where there
// can be one and nowhere else.
func TestMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("the matrix of networks takes a minute")
	}
	pairs, write := spread(), os.Getenv(matrixEnv) != ""
	if write {
		pairs = append(allPairs(), nodePairs()...)
	}
	w, api := newMatrixWorld(t)
	cells := make(map[pair]cell)
	devices := make(map[netlab.Kind]*sync.Mutex)
	for _, kind := range netlab.Matrix() {
		devices[kind] = new(sync.Mutex)
	}
	// Few connect at once, so that they do not wait for each other's processor; many
	// wait for a path that does not come.
	room := make(chan struct{}, 2)
	start := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range pairs {
		wg.Go(func() {
			devices[p.device].Lock()
			defer devices[p.device].Unlock()
			m := &meeting{w: w, api: api, device: deviceID(p.device), operator: w.others[p.operator], want: p.want(), room: room}
			if !p.node {
				m.args, m.final = []string{"--end-to-end"}, "nat: "
			}
			c, err := m.run(t.Context())
			mu.Lock()
			defer mu.Unlock()
			cells[p] = c
			if err != nil {
				t.Errorf("%s: %v", p, err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d pairs in %v; since the wake:", len(pairs), time.Since(start).Round(time.Millisecond))
	for _, p := range pairs {
		c := cells[p]
		t.Logf("%-50s first bytes %4d ms, direct %4d ms, %s", p, c.First.Milliseconds(), c.Direct.Milliseconds(), c.Pair)
	}
	for _, p := range pairs {
		if c := cells[p]; c.late() && !raceEnabled {
			t.Logf("%s: later than it should be; boothctl says:\n%s", p, c.Log)
		}
	}
	if write && !t.Failed() {
		writeMatrix(t, cells)
	}
}
