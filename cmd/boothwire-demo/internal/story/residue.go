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

// residue is what a session could leave in this process and on this machine.
type residue struct {
	interfaces []string
	goroutines int
	files      int // open ones, where /proc tells
	peers      int // sessions at the node
	conns      int // at the booth's SSH server
}

func takeResidue(f *fleet.Fleet) residue {
	runtime.GC()
	r := residue{goroutines: runtime.NumGoroutine(), peers: len(f.Node.Sessions()), conns: f.Kiosks[0].SSH.Conns()}
	if all, err := net.Interfaces(); err == nil {
		for _, i := range all {
			r.interfaces = append(r.interfaces, i.Name)
		}
	}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		r.files = len(fds)
	}
	return r
}

// more says what r has beyond before.
func (r residue) more(before residue) []string {
	var all []string
	if !slices.Equal(r.interfaces, before.interfaces) {
		all = append(all, fmt.Sprintf("interfaces %v", r.interfaces))
	}
	for _, c := range []struct {
		name     string
		now, was int
	}{
		{"goroutines", r.goroutines, before.goroutines}, {"open files", r.files, before.files},
		{"sessions at the node", r.peers, before.peers}, {"connections at the booth", r.conns, before.conns},
	} {
		if c.now > c.was {
			all = append(all, fmt.Sprintf("%s %d, were %d", c.name, c.now, c.was))
		}
	}
	return all
}

// silence waits until the session is over everywhere and nothing of it is left.
func (s *Story) silence(ctx context.Context, f *fleet.Fleet, k *fleet.Kiosk, id string, before residue) error {
	s.say("\nThe engineer disconnects.")
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var now residue
	for left := []string{"?"}; len(left) > 0 || k.Agent.Status().State != signaling.Disconnected; {
		now = takeResidue(f)
		left = now.more(before)
		select {
		case <-ctx.Done():
			return errors.New("something is left: " + strings.Join(left, "; "))
		case <-time.After(50 * time.Millisecond):
		}
	}
	over, err := f.Client.Session(ctx, id)
	if err != nil {
		return err
	}
	s.say("  The booth is silent again. Left behind: nothing (%d goroutines, %d open files, %d interfaces, %d sessions at the node, as before).",
		now.goroutines, now.files, len(now.interfaces), now.peers)
	s.say("  Control's record: session %s, ticket %s, %s, %d bytes from the booth and %d to it by the node's counters.", over.ID, over.Ticket, over.State, over.Rx, over.Tx)
	return nil
}
