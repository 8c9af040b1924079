package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel/operator"
)

func (a *app) forward() *cobra.Command {
	c := &cobra.Command{
		Use:     "forward DEVICE LOCAL:REMOTE...",
		Short:   "open local ports that lead to a device's, until Ctrl-C",
		Example: "  boothctl forward kiosk-00042 3389:3389     # mstsc /v:localhost\n  boothctl forward kiosk-00042 127.0.0.1:4450:445 2222:22",
		Args:    cobra.MinimumNArgs(2),
	}
	o := a.opens(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var all []forwarding
		var ports []keys.Port
		for _, arg := range args[1:] {
			f, err := parseForwarding(arg)
			if err != nil {
				return err
			}
			all, ports = append(all, f), append(ports, f.port)
		}
		// Before the device is woken: a local port that is taken wakes nobody.
		for i := range all {
			ln, err := net.Listen("tcp", all[i].local)
			if err != nil {
				return fmt.Errorf("open the local port: %w", err)
			}
			defer ln.Close()
			all[i].ln = ln
		}
		s, err := a.open(cmd.Context(), args[0], o, ports...)
		if err != nil {
			return err
		}
		return a.forwardAll(cmd.Context(), s, all)
	}
	return c
}

// A forwarding is one local port that leads to the device's.
type forwarding struct {
	local string
	port  keys.Port
	ln    net.Listener
}

// parseForwarding reads LOCAL:REMOTE, where LOCAL may have an address.
func parseForwarding(text string) (forwarding, error) {
	i := strings.LastIndexByte(text, ':')
	if i <= 0 {
		return forwarding{}, usageError{fmt.Errorf("%q is not LOCAL:REMOTE, such as 3389:3389", text)}
	}
	f := forwarding{local: text[:i]}
	if !strings.Contains(f.local, ":") {
		f.local = "127.0.0.1:" + f.local
	}
	if _, _, err := net.SplitHostPort(f.local); err != nil {
		return forwarding{}, usageError{fmt.Errorf("%q: %q is no local port: %w", text, text[:i], err)}
	}
	var err error
	f.port, err = parseStream(text[i+1:])
	return f, err
}

// forwardAll serves the local ports until the session, the user or one of them
// ends.
func (a *app) forwardAll(ctx context.Context, s *operator.Session, all []forwarding) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	for _, f := range all {
		fmt.Fprintf(a.err, "%s leads to %s of %s\n", f.ln.Addr(), f.port, s.Grant().Device)
		work.Go(func() {
			if err := s.Forward(ctx, f.ln, target(f.port)); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("forward %s: %w", f.ln.Addr(), err))
			}
		})
	}
	err := a.hold(ctx, s)
	cancel(nil)
	work.Wait()
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, net.ErrClosed) {
		err = cause
	}
	return err
}
