package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/operator"
)

func (a *app) connect() *cobra.Command {
	var ports []string
	c := &cobra.Command{
		Use:   "connect DEVICE",
		Short: "wake a device and keep the session open until Ctrl-C",
		Long:  "Shows the ladder while it connects, then holds the session. Use ssh, forward or up in its place to reach a port.",
		Args:  cobra.ExactArgs(1),
	}
	o := a.opens(c)
	c.Flags().StringSliceVar(&ports, "port", []string{"22"}, "port to ask for: 22, tcp/3389, udp/3389 (repeatable)")
	c.RunE = func(cmd *cobra.Command, args []string) error { return a.stay(cmd, args[0], o, ports) }
	return c
}

func (a *app) up() *cobra.Command {
	var ports []string
	c := &cobra.Command{
		Use:     "up DEVICE",
		Short:   "make a network interface with a route to the device, for any client (root)",
		Example: "  boothctl up --port 445 kiosk-00042     # then mount //10.166.0.5/photos",
		Args:    cobra.ExactArgs(1),
	}
	o := a.opens(c)
	o.cfg.Mode = tunnel.Adapter
	c.Flags().StringSliceVar(&ports, "port", []string{"22", "445", "3389"}, "port to ask for (repeatable)")
	c.Flags().StringVar(&o.cfg.Name, "interface", "", "name of the interface; default bw0, bw1, ...")
	c.RunE = func(cmd *cobra.Command, args []string) error { return a.stay(cmd, args[0], o, ports) }
	return c
}

// stay opens a session, shows it, and holds it.
func (a *app) stay(cmd *cobra.Command, device string, o *opening, ports []string) error {
	want, err := parsePorts(ports)
	if err != nil {
		return err
	}
	s, err := a.open(cmd.Context(), device, o, want...)
	if err != nil {
		return err
	}
	if err := a.showOpen(s); err != nil {
		a.leave(s)
		return err
	}
	return a.hold(cmd.Context(), s)
}

// showOpen prints where an open session leads.
func (a *app) showOpen(s *operator.Session) error {
	now := s.Status()
	now.Session.Grant, now.Session.Relays = "", nil // for the tunnel, and long
	return a.show(now.Session, "session", s.ID(), "device", now.Session.Device, "address", s.Grant().Addresses[0],
		"interface", now.Tunnel.Name, "path", now.Tunnel.Path, "why", reason(string(now.Tunnel.Path), now.Tunnel.Why), "rtt", now.Tunnel.RTT.Round(100*time.Microsecond))
}
