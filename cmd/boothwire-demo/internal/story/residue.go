package story

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/fleet"
	"github.com/boothwire/boothwire/signaling"
)

// A residue is what a session could leave in this process and on this machine:
// counts by what is counted, always the same ones in the same order.
type residue struct {
	interfaces []string
	counts     []count
}

type count struct {
	of string
	n  int
}

func takeResidue(f *fleet.Fleet) residue {
	// What the demo's own calls of the API keep open is no session's.
	f.Idle()
	runtime.GC()
	var r residue
	if all, err := net.Interfaces(); err == nil {
		for _, i := range all {
			r.interfaces = append(r.interfaces, i.Name)
		}
	}
	slices.Sort(r.interfaces)
	r.counts = []count{
		{"goroutines", runtime.NumGoroutine()},
		{"network interfaces", len(r.interfaces)},
		{"sessions at the node", len(f.Node.Sessions())},
		{"legs at the relay", f.Relay.Stats().Legs},
		{"connections at the booths", f.Conns()},
	}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		r.counts = append(r.counts, count{"open files and sockets", len(fds)})
	}
	return r
}

// settle is how often a residue is taken until it is what stays.
const settle = 50 * time.Millisecond

// settledResidue waits until what is counted no longer changes: a booth that has
// just come online is still busy.
func settledResidue(ctx context.Context, f *fleet.Fleet) (residue, error) {
	last, same := takeResidue(f), 0
	for same < 5 {
		select {
		case <-ctx.Done():
			return residue{}, fmt.Errorf("the fleet does not come to rest: %w", ctx.Err())
		case <-time.After(settle):
		}
		now := takeResidue(f)
		if same++; !slices.Equal(now.counts, last.counts) {
			last, same = now, 0
		}
	}
	return last, nil
}

// more says what r has beyond before.
func (r residue) more(before residue) []string {
	var all []string
	for _, name := range r.interfaces {
		if !slices.Contains(before.interfaces, name) {
			all = append(all, "the interface "+name)
		}
	}
	for i, c := range r.counts {
		if was := before.counts[i].n; c.n > was {
			all = append(all, fmt.Sprintf("%s: %d, were %d", c.of, c.n, was))
		}
	}
	return all
}

// silence waits until the session is over everywhere and shows what is left.
func (s *Story) silence(ctx context.Context, f *fleet.Fleet, k *fleet.Kiosk, id string, before residue) error {
	s.say("\nThe engineer disconnects.")
	now, err := s.quiet(ctx, f, k, before)
	if err != nil {
		return err
	}
	over, err := f.Client.Session(ctx, id)
	if err != nil {
		return err
	}
	s.say("  The booth is silent again. Before the session and after it:")
	for i, c := range now.counts {
		s.say("    %-26s %4d %4d", c.of, before.counts[i].n, c.n)
	}
	s.say("  Control's record: session %s, ticket %s, %s, %d bytes from the booth and %d to it by the node's counters.", over.ID, over.Ticket, over.State, over.Rx, over.Tx)
	return nil
}

// quiet waits until nothing of a session is left.
func (s *Story) quiet(ctx context.Context, f *fleet.Fleet, k *fleet.Kiosk, before residue) (residue, error) {
	ctx, cancel := context.WithTimeout(ctx, calm)
	defer cancel()
	for {
		state := k.Agent.Status().State
		now := takeResidue(f)
		left := now.more(before)
		if state != signaling.Disconnected {
			left = append(left, "the booth is "+string(state))
		}
		if len(left) == 0 {
			return now, nil
		}
		select {
		case <-ctx.Done():
			return now, errors.New("something is left: " + strings.Join(left, "; "))
		case <-time.After(settle):
		}
	}
}
