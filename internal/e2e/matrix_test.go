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

// A pair is who wants to reach whom.
type pair struct{ device, operator netlab.Kind }

func (p pair) String() string { return fmt.Sprintf("%s and %s", p.device, p.operator) }

// allPairs is the matrix, rows first.
func allPairs() []pair {
	var all []pair
	for _, d := range netlab.Matrix() {
		for _, o := range netlab.Matrix() {
			all = append(all, pair{d, o})
		}
	}
	return all
}

// spread is what every run of the tests plays: all direct pairs, and a relay's for
// each kind on each side.
func spread() []pair {
	var all []pair
	for _, p := range allPairs() {
		if direct(p.device, p.operator) {
			all = append(all, p)
		}
	}
	return append(all,
		pair{netlab.Symmetric, netlab.Symmetric}, pair{netlab.Symmetric, netlab.PortRestricted}, pair{netlab.DoubleNAT, netlab.Symmetric},
		pair{netlab.UDPBlocked, netlab.Open}, pair{netlab.FullCone, netlab.UDPBlocked}, pair{netlab.UDPBlocked, netlab.UDPBlocked},
		pair{netlab.OnlyTCP443, netlab.AddressRestricted}, pair{netlab.Open, netlab.OnlyTCP443}, pair{netlab.OnlyTCP443, netlab.OnlyProxy},
		pair{netlab.OnlyProxy, netlab.DoubleNAT}, pair{netlab.PortRestricted, netlab.OnlyProxy}, pair{netlab.OnlyProxy, netlab.OnlyProxy},
		pair{netlab.OnlyIPv6, netlab.Open}, pair{netlab.OnlyProxy, netlab.OnlyIPv6}, pair{netlab.OnlyIPv6, netlab.Symmetric},
	)
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
	if len(allPairs()) != 100 || n != 32 {
		t.Errorf("%d of %d pairs are direct, want 32 of 100", n, len(allPairs()))
	}
	sides := make(map[string]bool)
	for _, p := range spread() {
		sides["device "+string(p.device)], sides["operator "+string(p.operator)] = true, true
	}
	if len(sides) != 20 || len(spread()) < 25 {
		t.Errorf("the spread has %d pairs, and %d kinds of both sides", len(spread()), len(sides))
	}
}

// A cell is what a pair came to.
type cell struct {
	Relay  time.Duration // from the start of both ends until the relay carried a round trip
	Direct time.Duration // until the direct path did, 0: there is none
	Pair   string        // of ICE candidates, operator's first
}

// matrixEnv makes TestMatrix play every pair and write docs/NAT.md; its value is
// how often.
const matrixEnv = "BOOTHWIRE_MATRIX"

// TestMatrix joins devices and operators of every kind, end to end: each pair by
// the relay, and by a direct path where there can be one and nowhere else.
func TestMatrix(t *testing.T) {
	pairs, write := spread(), os.Getenv(matrixEnv) != ""
	if write {
		pairs = allPairs()
	}
	w := newNATWorld(t)
	cells := make(map[pair]cell)
	var mu sync.Mutex
	var wg sync.WaitGroup
	// Most of the time is spent waiting for what cannot work; the ends that do work
	// should not wait for each other's processor.
	room := make(chan struct{}, 12)
	start := time.Now()
	for _, p := range pairs {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			c, err := w.join(p)
			mu.Lock()
			defer mu.Unlock()
			cells[p] = c
			switch want := direct(p.device, p.operator); {
			case err != nil:
				t.Errorf("%s: %v", p, err)
			case want && c.Direct == 0:
				t.Errorf("%s: no direct path, and there should be", p)
			case !want && c.Direct != 0:
				t.Errorf("%s: a direct path (%s) where none was thought possible", p, c.Pair)
			}
		})
	}
	wg.Wait()
	t.Logf("%d pairs in %v", len(pairs), time.Since(start).Round(time.Millisecond))
	for _, p := range pairs {
		c := cells[p]
		t.Logf("%-20s %-20s relay %4d ms, direct %4d ms %s", p.device, p.operator, c.Relay.Milliseconds(), c.Direct.Milliseconds(), c.Pair)
	}
	if write && !t.Failed() {
		writeMatrix(t, cells)
	}
}
