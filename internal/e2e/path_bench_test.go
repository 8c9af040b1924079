//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/boothwire/boothwire/internal/netlab"
)

const (
	// pingEvery is how finely a bench looks: so long may pass without an answer unseen.
	pingEvery  = 5 * time.Millisecond
	pathRounds = 12
	// before is how long the tunnel runs undisturbed: it has checked its path then.
	before = 1500 * time.Millisecond
)

// BenchmarkPath measures what a tunnel's packets notice of its path's changes, between
// two processes. Run it with -benchtime 1x.
func BenchmarkPath(b *testing.B) {
	if raceEnabled {
		b.Skip("the race detector's programs are not what is measured")
	}
	w := newPathWorld(b, netlab.Emulation{})
	for b.Loop() {
		w.rebindings()
		w.blackholes()
		w.upgrades()
	}
}

// rebindings print for how long nothing is answered when the device's NAT forgets
// everything and gives it another port: towards a far end with a public address, which
// hears it from there, and end to end behind another NAT, which does not let it in.
func (w *pathWorld) rebindings() {
	for _, side := range []struct{ name, how string }{{"node", byNode}, {"end-to-end", endToEnd}} {
		var gaps, quiet []float64
		for n := range pathRounds {
			q, y := w.disturb(side.how, w.device.NAT.Rebind, 1500*time.Millisecond)
			fmt.Printf("\nrebinding %d, %s: no answer for %v (%v before), %d of %d; %s\n", n+1, side.name, y.Gap, q, y.Back, y.Sent, y.Why)
			gaps, quiet = append(gaps, y.Gap.Seconds()), append(quiet, q.Seconds())
		}
		name := "path/rebind-gap-" + side.name
		figure(name, "%.3f s", median(gaps), 0.2)
		figure(name+"-most", "%.3f s", slices.Max(gaps), 0.2)
		info(name+"-none", "%.3f s", slices.Max(quiet))
	}
}

// blackholes print for how long nothing is answered when the direct path drops one
// direction.
func (w *pathWorld) blackholes() {
	var gaps, quiet []float64
	for n := range pathRounds {
		from, to, name := w.device, w.operator, "device to operator"
		if n%2 == 1 {
			from, to, name = to, from, "operator to device"
		}
		q, y := w.disturb(endToEnd, func() { from.Router.Blackhole("meta l4proto udp ip daddr " + to.Public.String()) }, 3*time.Second)
		from.Router.Clear()
		fmt.Printf("\nblackhole %d, %s: no answer for %v (%v before), %d of %d; %s\n", n+1, name, y.Gap, q, y.Back, y.Sent, y.Why)
		gaps, quiet = append(gaps, y.Gap.Seconds()), append(quiet, q.Seconds())
		if y.Path != "relay" {
			w.t.Errorf("the path is %s, %s", y.Path, y.Why)
		}
	}
	figure("path/blackhole", "%.3f s", median(gaps), 1.5)
	figure("path/blackhole-most", "%.3f s", slices.Max(gaps), 1.5)
	info("path/blackhole-none", "%.3f s", slices.Max(quiet))
}

// disturb begins a tunnel and does something to its direct path. It returns the
// longest time without an answer before, and what was seen for a while from then on.
func (w *pathWorld) disturb(how string, f func(), watch time.Duration) (quiet time.Duration, y *tunnelTally) {
	w.t.Helper()
	j := w.tunnel(how, pingEvery)
	defer j.end()
	j.settle()
	j.look(j.operator)
	time.Sleep(before)
	quiet = j.look(j.operator).Gap
	f()
	time.Sleep(watch)
	return quiet, j.look(j.operator)
}

// upgrades print how many of the packets that are sent while a tunnel moves from a
// relay to a direct path are not answered.
func (w *pathWorld) upgrades() {
	const rounds, packets = 4, 1000
	sent, lost := 0, 0
	var gaps []float64
	for n := range rounds {
		w.device.Router.Refuse("meta l4proto udp")
		j := w.tunnel(endToEnd, pingEvery)
		j.await("packets go by the relay", func(y *tunnelTally) bool { return y.Ready && y.Path == "relay" })
		w.device.Router.Allow()
		j.look(j.operator)
		var all tunnelTally
		moved := false
		eventually(w.t, "the move to the direct path", func() error {
			y := j.look(j.operator)
			all.Sent, all.Back, all.Gap = all.Sent+y.Sent, all.Back+y.Back, max(all.Gap, y.Gap)
			switch {
			case y.Path == "direct" && !moved: // and as many again from here on
				moved = true
				all.Sent, all.Back = min(all.Sent, packets/2), all.Back-max(all.Sent-packets/2, 0)
			case moved && all.Sent >= packets:
				return nil
			}
			return fmt.Errorf("%+v", y)
		})
		fmt.Printf("\nupgrade %d: %d of %d are back, no answer for %v at most\n", n+1, all.Back, all.Sent, all.Gap)
		sent, lost = sent+all.Sent, lost+all.Sent-all.Back
		gaps = append(gaps, all.Gap.Seconds())
		j.end()
	}
	figure("path/upgrade-lost", "%.2f of-1000", float64(lost)*1000/float64(sent), 0)
	info("path/upgrade-gap-most", "%.3f s", slices.Max(gaps))
}

// figure prints one that may be so much at most.
func figure(name, format string, value, most float64) {
	verdict := "ok"
	if value > most {
		verdict = "short"
	}
	fmt.Printf("\nbench %s "+format+" at-most %g %s\n", name, value, most, verdict)
}
