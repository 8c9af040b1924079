// Package story plays the demo's service calls: a ticket, the connect with its
// ladder, the repair over SSH, the log over SFTP, the disconnect, and what is left
// afterwards; then a session end to end whose path moves.
package story

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/booth"
	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/fleet"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// patience bounds each part of the story, calm the end of a session and ssh's
// sign-in.
const (
	patience = 5 * time.Minute
	calm     = time.Minute
)

// A Story tells what happens on w.
type Story struct {
	mu sync.Mutex
	w  io.Writer
}

// New tells on w.
func New(w io.Writer) *Story { return &Story{w: w} }

func (s *Story) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, format+"\n", args...)
}

// Play plays the service call on the first kiosk; an error says which part failed.
func (s *Story) Play(ctx context.Context, f *fleet.Fleet) error {
	k := f.Kiosks[0]
	s.say("\nA broker, the back end, the node %s, the relay %s and %d photo booths run on this machine.", fleet.NodeName, fleet.RelayName, len(f.Kiosks))
	for _, step := range []struct {
		name string
		run  func(context.Context, *fleet.Fleet, *fleet.Kiosk) error
	}{
		{"the booths come online", s.online},
		{"the service call", s.call},
		{"the call end to end", s.straight},
	} {
		ctx, cancel := context.WithTimeout(ctx, patience)
		err := step.run(ctx, f, k)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	s.say("\nThe story is over: every part of it worked.")
	return nil
}

// online waits until control has heard of every kiosk.
func (s *Story) online(ctx context.Context, f *fleet.Fleet, _ *fleet.Kiosk) error {
	for _, k := range f.Kiosks {
		for {
			d, err := f.Client.Device(ctx, k.ID)
			if err != nil {
				return err
			}
			if d.Online == client.Online && d.Prekeys > 0 {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s stays %s", k.ID, d.Online)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	s.say("All of them are online: each holds one MQTT connection, and no port is open.")
	return nil
}

// call is the ticket, from its opening to the residue report.
func (s *Story) call(ctx context.Context, f *fleet.Fleet, k *fleet.Kiosk) error {
	status, err := os.ReadFile(filepath.Join(k.Dir, booth.Printer))
	if err != nil {
		return err
	}
	s.say("\nTicket 4711: %q at %s. The engineer clicks connect.", strings.TrimSpace(string(status)), k.ID)
	before, err := settledResidue(ctx, f)
	if err != nil {
		return err
	}

	session, err := operator.Open(ctx, f.Client, k.ID, &operator.Config{Ticket: "4711", Reason: "cannot print", Relay: f.Dialling(), Socket: f.Socket})
	if err != nil {
		return err
	}
	defer session.Close()
	if err := s.ladder(ctx, session); err != nil {
		return err
	}
	t := session.Status().Tunnel
	s.say("  Connected: %s is reached at %v, %s, round trip %v.", k.ID, session.Grant().Addresses[0], t.Path, t.RTT.Round(10*time.Microsecond))

	if err := s.repair(ctx, f, k, session); err != nil {
		return err
	}
	if err := session.Close(); err != nil {
		return fmt.Errorf("disconnect: %w", err)
	}
	return s.silence(ctx, f, k, session.ID(), before)
}

// ladder shows each step with its time on the clock of whoever reported it.
func (s *Story) ladder(ctx context.Context, session *operator.Session) error {
	began := time.Now()
	for step, err := range session.Ladder(ctx) {
		if err != nil {
			return err
		}
		s.say("  %8.1f ms  %-10s  %s", float64(step.After)/1000, step.Stage, step.By)
	}
	if err := session.Ready(ctx); err != nil {
		return err
	}
	s.say("  %8.1f ms  %-10s  %s", float64(time.Since(began).Microseconds())/1000, "reachable", "engineer: an echo came back through the tunnel")
	return nil
}

// repair clears the print queue and fetches the log.
func (s *Story) repair(ctx context.Context, f *fleet.Fleet, k *fleet.Kiosk, session *operator.Session) error {
	shell, err := s.shell(ctx, f, k, session)
	if err != nil {
		return err
	}
	defer shell.Close()
	if err := s.fetch(shell, k, func() {}); err != nil {
		return err
	}
	return s.clear(shell, k)
}

// Invite says how to go on by hand.
func (s *Story) Invite(f *fleet.Fleet) {
	s.say(`
The fleet stays up. In a browser on this machine:

  %[9]s
  sign in as %[10]s with %[11]s

Or in another terminal, in this checkout:

  export BOOTHWIRE_URL=%[1]s
  export BOOTHWIRE_TOKEN=%[2]s
  export BOOTHWIRE_CA=%[3]s
  go build -o %[4]s ./cmd/boothctl
  alias boothctl=%[4]s

  boothctl devices
  boothctl connect %[5]s
  boothctl connect --end-to-end %[5]s
  ssh -i %[6]s -o ProxyCommand="%[4]s proxy %%h %%p" -o UserKnownHostsFile=%[7]s %[5]s ls -l
  sftp -i %[6]s -o ProxyCommand="%[4]s proxy %%h %%p" -o UserKnownHostsFile=%[7]s %[5]s
  boothctl sessions
  boothctl audit

Ctrl-C ends it and removes %[8]s.`,
		f.URL, f.Token, f.CA, filepath.Join(f.Dir, "boothctl"), f.Kiosks[len(f.Kiosks)-1].ID, f.Key, f.KnownHosts, f.Dir,
		f.Desk.URL, f.Desk.Name, f.Desk.Password)
}
