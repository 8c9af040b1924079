package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// An opening is what the commands that open a session have in common.
type opening struct {
	cfg   operator.Config
	ports []string
}

func (a *app) opens(c *cobra.Command) *opening {
	o := new(opening)
	f := c.Flags()
	f.StringVar(&o.cfg.Reason, "reason", "", "why, for the audit row")
	f.StringVar(&o.cfg.Ticket, "ticket", "", "number of the ticket")
	f.StringVar(&o.cfg.Node, "node", "", "node to go through; default control's choice")
	f.DurationVar(&o.cfg.Lifetime, "for", 0, "longest time of the session, such as 2h; default control's")
	c.ValidArgsFunction = a.deviceArg
	return o
}

// open opens a session and shows its ladder on stderr until it is ready.
func (a *app) open(ctx context.Context, device string, o *opening, ports ...keys.Port) (*operator.Session, error) {
	ctl, err := a.client()
	if err != nil {
		return nil, err
	}
	cfg := o.cfg
	cfg.Ports, cfg.Logger = ports, a.logger()
	s, err := operator.Open(ctx, ctl, device, &cfg)
	if err != nil {
		return nil, err
	}
	if err := a.climb(ctx, s); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// hold waits until the session or the user ends, and leaves it.
func (a *app) hold(ctx context.Context, s *operator.Session) error {
	select {
	case <-ctx.Done():
	case <-s.Done():
	}
	err := s.Err()
	if e := s.Close(); err == nil {
		err = e
	}
	t := s.Status().Tunnel
	fmt.Fprintf(a.err, "closed: %s received, %s sent\n", size(t.Rx), size(t.Tx))
	return err
}

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
	c.RunE = func(cmd *cobra.Command, args []string) error {
		want, err := parsePorts(ports)
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context(), args[0], o, want...)
		if err != nil {
			return err
		}
		now := s.Status()
		if err := a.show(now.Session, "session", s.ID(), "address", valid(s.Grant().Addresses[0]), "path", now.Tunnel.Path, "rtt", now.Tunnel.RTT.Round(100*time.Microsecond)); err != nil {
			s.Close()
			return err
		}
		return a.hold(cmd.Context(), s)
	}
	return c
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

func parsePort(text string) (keys.Port, error) {
	p, err := parsePorts([]string{text})
	if err != nil {
		return keys.Port{}, err
	}
	return p[0], nil
}

func (a *app) proxy() *cobra.Command {
	c := &cobra.Command{
		Use:     "proxy DEVICE PORT",
		Short:   "connect stdin and stdout to a device's port, for ssh's ProxyCommand",
		Example: `  ssh -o ProxyCommand="boothctl proxy %h %p" kiosk-00042`,
		Args:    cobra.ExactArgs(2),
	}
	o := a.opens(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		port, err := parsePort(args[1])
		if err != nil {
			return err
		}
		s, err := a.open(cmd.Context(), args[0], o, port)
		if err != nil {
			return err
		}
		defer s.Close()
		conn, err := s.Dial(cmd.Context(), port.Proto, ":"+strconv.Itoa(int(port.Number)))
		if err != nil {
			return err
		}
		operator.Join(cmd.Context(), conn, stdio{a.in, a.out})
		return s.Err()
	}
	return c
}

// stdio is the program that runs boothctl as its proxy.
type stdio struct {
	io.Reader
	io.Writer
}

func (s stdio) Close() error {
	// Reading stdin is unblocked only by its own end; the process ends anyway.
	if f, ok := s.Reader.(*os.File); ok {
		f.Close()
	}
	return nil
}
func (stdio) CloseWrite() error                { return nil }
func (stdio) LocalAddr() net.Addr              { return nil }
func (stdio) RemoteAddr() net.Addr             { return nil }
func (stdio) SetDeadline(time.Time) error      { return nil }
func (stdio) SetReadDeadline(time.Time) error  { return nil }
func (stdio) SetWriteDeadline(time.Time) error { return nil }

func (a *app) ssh() *cobra.Command {
	var user string
	c := &cobra.Command{
		Use:     "ssh DEVICE [-- SSH-ARGUMENTS]",
		Short:   "run ssh to a device, through boothctl proxy",
		Example: "  boothctl ssh kiosk-00042\n  boothctl ssh -l admin kiosk-00042 -- systemctl restart cups",
		Args:    cobra.MinimumNArgs(1),
	}
	c.Flags().StringVarP(&user, "login", "l", "", "user on the device")
	c.ValidArgsFunction = a.deviceArg
	c.RunE = func(cmd *cobra.Command, args []string) error {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		ssh, err := exec.LookPath("ssh")
		if err != nil {
			return errors.New("there is no ssh on this machine; boothctl forward opens a local port for any client")
		}
		// The sign-in travels in the environment: arguments are seen by everybody.
		line := []string{"-o", "ProxyCommand=" + quote(self) + " proxy %h %p"}
		if user != "" {
			line = append(line, "-l", user)
		}
		line = append(append(line, args[0]), args[1:]...)
		run := exec.CommandContext(cmd.Context(), ssh, line...)
		run.Stdin, run.Stdout, run.Stderr = a.in, a.out, a.err
		run.Env = append(os.Environ(), "BOOTHWIRE_URL="+a.url, "BOOTHWIRE_CA="+a.ca)
		if a.token != "" {
			run.Env = append(run.Env, "BOOTHWIRE_TOKEN="+a.token)
		}
		err = run.Run()
		var status *exec.ExitError
		if errors.As(err, &status) && status.ExitCode() > 0 {
			return exitStatus(status.ExitCode())
		}
		return err
	}
	return c
}

// quote makes one word of a path for the shell that ssh hands ProxyCommand to.
func quote(path string) string {
	if strings.ContainsAny(path, " '\"\\$`") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(path) + `"`
	}
	return path
}

func (a *app) forward() *cobra.Command {
	c := &cobra.Command{
		Use:     "forward DEVICE LOCAL:REMOTE...",
		Short:   "open local ports that lead to a device's, until Ctrl-C",
		Example: "  boothctl forward kiosk-00042 3389:3389     # mstsc /v:localhost\n  boothctl forward kiosk-00042 127.0.0.1:4450:445 2222:22",
		Args:    cobra.MinimumNArgs(2),
	}
	o := a.opens(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var locals []string
		var ports []keys.Port
		for _, arg := range args[1:] {
			i := strings.LastIndexByte(arg, ':')
			if i < 0 {
				return usageError{fmt.Errorf("%q is not LOCAL:REMOTE, such as 3389:3389", arg)}
			}
			local := arg[:i]
			if !strings.Contains(local, ":") {
				local = "127.0.0.1:" + local
			}
			port, err := parsePort(arg[i+1:])
			if err != nil {
				return err
			}
			locals, ports = append(locals, local), append(ports, port)
		}
		// Before the device is woken: a local port that is taken wakes nobody.
		var lns []net.Listener
		for _, l := range locals {
			ln, err := net.Listen("tcp", l)
			if err != nil {
				return fmt.Errorf("open the local port: %w", err)
			}
			defer ln.Close()
			lns = append(lns, ln)
		}
		s, err := a.open(cmd.Context(), args[0], o, ports...)
		if err != nil {
			return err
		}
		for i, ln := range lns {
			fmt.Fprintf(a.err, "%s leads to %s of %s\n", ln.Addr(), ports[i], args[0])
			go s.Forward(cmd.Context(), ln, ":"+strconv.Itoa(int(ports[i].Number)))
		}
		return a.hold(cmd.Context(), s)
	}
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
	c.Flags().StringSliceVar(&ports, "port", []string{"22", "445", "3389"}, "port to ask for (repeatable)")
	c.Flags().StringVar(&o.cfg.Name, "interface", "", "name of the interface; default bw0, bw1, ...")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		want, err := parsePorts(ports)
		if err != nil {
			return err
		}
		o.cfg.Mode = tunnel.Adapter
		s, err := a.open(cmd.Context(), args[0], o, want...)
		if err != nil {
			return err
		}
		now := s.Status()
		if err := a.show(now.Session, "session", s.ID(), "device", s.Grant().Addresses[0], "interface", now.Tunnel.Name, "path", now.Tunnel.Path); err != nil {
			s.Close()
			return err
		}
		return a.hold(cmd.Context(), s)
	}
	return c
}
