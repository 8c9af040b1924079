package cli

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// An opening is what the commands that open a session have in common.
type opening struct{ cfg operator.Config }

func (a *app) opens(c *cobra.Command) *opening {
	o := a.asks(c)
	f := c.Flags()
	f.BoolVar(&o.cfg.EndToEnd, "end-to-end", false, "no node in between: straight to the device, or through a relay that cannot read")
	f.BoolVar(&o.cfg.Batch, "batch", false, "one of many: others go first where devices wait for their turn")
	f.StringVar((*string)(&o.cfg.Path), "path", "", "relay-only or direct-only; default the best that there is")
	return o
}

// asks has the flags of what control is asked for.
func (a *app) asks(c *cobra.Command) *opening {
	o := new(opening)
	f := c.Flags()
	f.StringVar(&o.cfg.Reason, "reason", "", "why, for the audit row")
	f.StringVar(&o.cfg.Ticket, "ticket", "", "number of the ticket")
	f.StringVar(&o.cfg.Node, "node", "", "node to go through; default control's choice")
	f.DurationVar(&o.cfg.Lifetime, "for", 0, "longest time of the session, such as 2h; default control's")
	c.ValidArgsFunction = a.deviceArg
	return o
}

// flags are the arguments that make another boothctl open the same way.
func (o *opening) flags() []string {
	var all []string
	for _, f := range [][2]string{{"--reason", o.cfg.Reason}, {"--ticket", o.cfg.Ticket}, {"--node", o.cfg.Node}, {"--path", string(o.cfg.Path)}} {
		if f[1] != "" {
			all = append(all, f[0]+"="+f[1])
		}
	}
	if o.cfg.EndToEnd {
		all = append(all, "--end-to-end")
	}
	if o.cfg.Batch {
		all = append(all, "--batch")
	}
	if o.cfg.Lifetime != 0 {
		all = append(all, "--for="+o.cfg.Lifetime.String())
	}
	return all
}

// check says what cannot be right, whatever control says.
func (o *opening) check(device string) error {
	if !keys.ValidID(device) {
		return usageError{fmt.Errorf("%q is no device id: 1 to 64 of A-Z a-z 0-9 . _ -", device)}
	}
	if o.cfg.Lifetime < 0 {
		return usageError{fmt.Errorf("--for %v is no time", o.cfg.Lifetime)}
	}
	return nil
}

// open opens a session and shows its ladder on stderr until it is ready.
func (a *app) open(ctx context.Context, device string, o *opening, ports ...keys.Port) (*operator.Session, error) {
	if err := o.check(device); err != nil {
		return nil, err
	}
	switch o.cfg.Path {
	case tunnel.AutoPolicy, tunnel.RelayOnly, tunnel.DirectOnly:
	default:
		return nil, usageError{fmt.Errorf("--path %q is neither relay-only nor direct-only", o.cfg.Path)}
	}
	ctl, err := a.client()
	if err != nil {
		return nil, err
	}
	cfg := o.cfg
	if cfg.Relay, err = a.relay(); err != nil {
		return nil, err
	}
	cfg.Ports, cfg.Logger = ports, a.logger()
	s, err := operator.Open(ctx, ctl, device, &cfg)
	if err != nil {
		return nil, err
	}
	if err := a.climb(ctx, s); err != nil {
		a.leave(s)
		return nil, err
	}
	return s, nil
}

// leave closes a session whose own error matters more than control's.
func (a *app) leave(s *operator.Session) {
	if err := s.Close(); err != nil {
		fmt.Fprintf(a.err, "control was not told that you left session %s: %s\n", s.ID(), oneLine(err.Error()))
	}
}

// hold waits until the session or the user ends, and leaves it.
func (a *app) hold(ctx context.Context, s *operator.Session) error {
	following, stop := context.WithCancel(ctx)
	var follower sync.WaitGroup
	follower.Go(func() { a.followPath(following, s) })
	select {
	case <-ctx.Done():
	case <-s.Done():
	}
	stop()
	follower.Wait()
	err := s.Err()
	if e := s.Close(); err == nil {
		err = e
	}
	t := s.Status().Tunnel
	fmt.Fprintf(a.err, "closed: %s received, %s sent%s\n", size(t.Rx), size(t.Tx), prefixed("; ", spent(t.Spent.Direct, t.Spent.Relay)))
	return err
}

func parsePorts(texts []string) ([]keys.Port, error) {
	var all []keys.Port
	for _, t := range texts {
		if !strings.Contains(t, "/") {
			t = "tcp/" + t
		}
		p, err := keys.ParsePort(t)
		if err != nil {
			return nil, usageError{err}
		}
		all = append(all, p)
	}
	return all, nil
}

// parseStream is a port whose bytes can be copied one way or the other: TCP.
func parseStream(text string) (keys.Port, error) {
	p, err := parsePorts([]string{text})
	if err != nil {
		return keys.Port{}, err
	}
	if p[0].Proto != "tcp" {
		return keys.Port{}, usageError{fmt.Errorf("%s cannot be forwarded, only TCP: boothctl up makes an interface for the rest", p[0])}
	}
	return p[0], nil
}

// target is a port of the device as operator.Session dials it.
func target(p keys.Port) string { return fmt.Sprintf(":%d", p.Number) }
