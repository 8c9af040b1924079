//go:build linux

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
)

const (
	connects = 200
	// connectPause keeps the kiosk's limit of 20 messages a second away: a session with
	// its offers is about ten.
	connectPause = 500 * time.Millisecond
	// step is what WireGuard waits before it repeats a handshake by itself, less what
	// a loaded machine may be late by.
	step = 4500 * time.Millisecond
)

var reachable = regexp.MustCompile(`(\S+)\s+reachable`)

// BenchmarkConnect measures how long the engineer's tool takes until a kiosk is
// reachable end to end, with both behind a home's NAT, and how often it takes a step of
// five seconds: a handshake whose messages were lost or crossed. Run it with
// -benchtime 1x.
func BenchmarkConnect(b *testing.B) {
	if raceEnabled {
		b.Skip("the race detector's programs are not what is measured")
	}
	w := newContinuityWorld(b)
	api := w.api()
	args := w.ctlArgs("connect", kiosk, "--end-to-end")
	for b.Loop() {
		var took []float64
		for n := range connects {
			eventually(b, "the kiosk is free", func() error {
				d, err := api.Device(b.Context(), kiosk)
				if err == nil && (d.Session != "" || d.Online != client.Online) {
					err = fmt.Errorf("%+v", d)
				}
				return err
			})
			p := start(b, w.operator, args[0], args[1:]...)
			p.quiet = true
			p.waitLog(0, "reachable")
			d, err := time.ParseDuration(reachable.FindStringSubmatch(p.log.String())[1])
			if err != nil {
				b.Fatal(err)
			}
			fmt.Printf("\nconnect %d: %v\n", n+1, d)
			took = append(took, d.Seconds())
			p.stop()
			time.Sleep(connectPause)
		}
		fmt.Printf("\nthe kiosk's log says flood %d times\n", strings.Count(w.agent.log.String(), `"flood"`))
		slices.Sort(took)
		steps := 0
		for _, t := range took {
			if t > median(took)+step.Seconds() {
				steps++
			}
		}
		figure("path/connect-step", fmt.Sprintf("%%.0f of-%d", connects), float64(steps), 0)
		info("path/connect-p50", "%.3f s", median(took))
		info("path/connect-p99", "%.3f s", took[len(took)*99/100])
		info("path/connect-most", "%.3f s", took[len(took)-1])
	}
}
