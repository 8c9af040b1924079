package story

import (
	"context"
	"fmt"
	"time"

	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/fleet"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// straight is a second ticket, without a node: the session begins over the relay,
// because the shop's router lets no UDP out, and moves to a direct path while a file
// is under way.
func (s *Story) straight(ctx context.Context, f *fleet.Fleet, k *fleet.Kiosk) error {
	before, err := settledResidue(ctx, f)
	if err != nil {
		return err
	}
	k.Router.Shut()
	defer k.Router.Open()
	s.say("\nTicket 4712: the log is wanted once more, end to end, without a node. The shop's router now lets no UDP out.")
	session, err := operator.Open(ctx, f.Client, k.ID, &operator.Config{
		EndToEnd: true, Ticket: "4712", Reason: "the log again", Relay: f.Dialling(), Socket: f.Socket,
	})
	if err != nil {
		return err
	}
	defer session.Close()
	if err := s.ladder(ctx, session); err != nil {
		return err
	}
	if t := session.Status().Tunnel; t.Path != tunnel.Relay {
		return fmt.Errorf("packets go by %q (%s), although no UDP gets out", t.Path, t.Why)
	}
	if err := s.move(ctx, f, k, session); err != nil {
		return err
	}
	record, err := f.Client.Session(ctx, session.ID())
	if err != nil {
		return err
	}
	s.say("  Control's record: session %s, ticket %s, %s, path %s.", record.ID, record.Ticket, record.State, record.Path)
	if err := session.Close(); err != nil {
		return fmt.Errorf("disconnect: %w", err)
	}
	_, err = s.quiet(ctx, f, k, before)
	if err == nil {
		s.say("  Disconnected, and nothing is left of it.")
	}
	return err
}

// move fetches the log, has the router opened in the middle, and waits for the direct
// path.
func (s *Story) move(ctx context.Context, f *fleet.Fleet, k *fleet.Kiosk, session *operator.Session) error {
	follow, stop := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() { defer close(told); s.follow(follow, session) }()
	defer func() { stop(); <-told }()
	shell, err := s.shell(ctx, f, k, session)
	if err != nil {
		return err
	}
	defer shell.Close()
	err = s.fetch(shell, k, func() {
		s.say("  The router lets UDP out again, after %d dropped packets.", k.Router.Dropped())
		k.Router.Open()
	})
	if err != nil {
		return err
	}
	return s.direct(ctx, session)
}

// look is how often a session's state is looked at.
const look = 5 * time.Millisecond

// follow tells of each path that the session takes, up to the one that it has when ctx
// ends: whoever ends it may have seen that one first.
func (s *Story) follow(ctx context.Context, session *operator.Session) {
	var path tunnel.PathKind
	for {
		last := ctx.Err() != nil
		if t := session.Status().Tunnel; t.Path != path && t.Path != "" {
			path = t.Path
			s.say("  Path: %s, to %s (%s).", path, t.Remote, t.Why)
		}
		if last {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(look):
		}
	}
}

// direct waits until both the engineer's end and control's record say that packets go
// straight.
func (s *Story) direct(ctx context.Context, session *operator.Session) error {
	for {
		st := session.Status()
		if st.Tunnel.Path == tunnel.Direct && st.Session.Path == string(tunnel.Direct) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no direct path: here %s (%s), at control %s (%s)", st.Tunnel.Path, st.Tunnel.Why, st.Session.Path, st.Session.Why)
		case <-session.Done():
			return fmt.Errorf("the session ended: %w", session.Err())
		case <-time.After(look):
		}
	}
}
