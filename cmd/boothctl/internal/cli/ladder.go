package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// climb shows each step of a session's ladder as it is reached, on stderr, and
// returns when the session is ready or has failed.
func (a *app) climb(ctx context.Context, s *operator.Session) error {
	began := time.Now()
	for step, err := range s.Ladder(ctx) {
		if err != nil {
			return err
		}
		if !a.quiet {
			a.step(step)
			a.wait(step, s.Status().Session.Waiting)
		}
	}
	if err := s.Ready(ctx); err != nil {
		return err
	}
	if !a.quiet {
		fmt.Fprintf(a.err, "%9s    reachable\n", time.Since(began).Round(time.Millisecond))
	}
	return nil
}

// wait says how long a wake is going to wait, on the step at which it begins to.
func (a *app) wait(step client.Step, w *client.Waiting) {
	if step.Stage == client.StageWaiting && w != nil {
		fmt.Fprintf(a.err, "%9s    %d before it, about %s\n", "", w.Position-1, w.For.Duration().Round(100*time.Millisecond))
	}
}

// step is one line of the ladder: who, when on his clock, what.
func (a *app) step(s client.Step) {
	mark := "  "
	if s.Code != "" {
		mark = "! "
	}
	fmt.Fprintf(a.err, "%9s  %s%-10s %s %s\n", s.After.Duration().Round(time.Millisecond), mark, clean(string(s.Stage)), clean(s.By), clean(s.Code))
}
