package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/tunnel/operator"
)

func (a *app) sessionExport() *cobra.Command {
	var ports []string
	var output string
	c := &cobra.Command{
		Use:   "export DEVICE",
		Short: "open a session for a WireGuard of your own, as a configuration of wg-quick",
		Long: `Opens a session, waits until the device is there, and writes a configuration for
wg-quick or another stock WireGuard. Its key is made here, for this session alone.

The session goes on without boothctl: until boothctl close, its end, or 15 minutes
without packets to the device. boothctl extend prolongs it; the file stays good. A stock
WireGuard reaches the node by UDP alone, and does not follow a session that is moved to
another node: export again.`,
		Example: "  boothctl session export --port 445 --output kiosk.conf kiosk-00042\n  wg-quick up ./kiosk.conf\n  wg-quick down ./kiosk.conf; boothctl close kiosk-00042",
		Args:    cobra.ExactArgs(1),
	}
	o := a.asks(c)
	c.Flags().StringSliceVar(&ports, "port", []string{"22"}, "port to ask for: 22, tcp/3389, udp/3389 (repeatable)")
	c.Flags().StringVarP(&output, "output", "o", "", "file to make, which only you can read; wg-quick calls the interface after it. Default stdout")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if o.cfg.Ports, err = parsePorts(ports); err != nil {
			return err
		}
		if err := o.check(args[0]); err != nil {
			return err
		}
		return a.exportTo(output, func() (*operator.Peer, error) {
			ctl, err := a.client()
			if err != nil {
				return nil, err
			}
			return operator.Export(cmd.Context(), ctl, args[0], &o.cfg, func(s client.Step) {
				if !a.quiet {
					a.step(s)
				}
			})
		})
	}
	return c
}

// exportTo writes what open opens into a file that was not there, or to stdout. The
// file is made first: one that cannot be wakes nobody.
func (a *app) exportTo(name string, open func() (*operator.Peer, error)) error {
	if name == "" {
		peer, err := open()
		if err != nil {
			return err
		}
		return leaving(peer, a.showPeer(peer, wgQuick(peer), ""))
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make the file: %w", err)
	}
	peer, err := open()
	if err == nil {
		_, err = file.WriteString(wgQuick(peer))
	}
	err = errors.Join(err, file.Close())
	if err != nil {
		return leaving(peer, errors.Join(err, os.Remove(name)))
	}
	return leaving(peer, a.showPeer(peer, "", name))
}

// leaving leaves a session whose configuration nobody has, for err.
func leaving(peer *operator.Peer, err error) error {
	if err == nil || peer == nil {
		return err
	}
	return errors.Join(err, peer.Close())
}

// showPeer prints the configuration, or where it is.
func (a *app) showPeer(peer *operator.Peer, config, file string) error {
	if config != "" && !a.json {
		_, err := fmt.Fprint(a.out, config)
		return err
	}
	s := peer.Session
	return a.show(struct {
		client.Session
		Config string `json:"config,omitempty"`
		File   string `json:"file,omitempty"`
	}{s, config, file}, "session", s.ID, "device", s.Device, "node", peer.Grant.Far.Node, "address", peer.Grant.Addresses[0], "file", file, "ends", when(s.Ends))
}

// keepalive holds the mappings of home routers and of most carriers open, so that the
// device's packets find the operator; it goes to the node and keeps no session from
// being idle.
const keepalive = 25 * time.Second

// wgQuick is the peer as wg-quick reads it. DNS and every other route stay as they are.
func wgQuick(p *operator.Peer) string {
	c := p.Config
	var b strings.Builder
	device := p.Grant.Device
	fmt.Fprintf(&b, "# %s at %s, through node %s: session %s.\n", device, p.Grant.Addresses[0], p.Grant.Far.Node, p.Grant.Session)
	fmt.Fprintf(&b, "# Good until %s, until boothctl close %s, or until %v without packets\n", p.Session.Ends.UTC().Format(time.RFC3339), device, p.Grant.Idle)
	fmt.Fprintf(&b, "# to the device; boothctl extend %s 2h prolongs it. Then this file opens nothing.\n", device)
	fmt.Fprintf(&b, "[Interface]\nPrivateKey = %s\n", c.Key.Expose())
	for _, addr := range c.Addresses {
		fmt.Fprintf(&b, "Address = %s/%d\n", addr, addr.BitLen())
	}
	fmt.Fprintf(&b, "MTU = %d\n\n[Peer]\nPublicKey = %s\n", exportMTU, c.Far.Key)
	for i, path := range c.Paths {
		comment := ""
		if i > 0 {
			comment = "# or: "
		}
		fmt.Fprintf(&b, "%sEndpoint = %s\n", comment, path.Addr)
	}
	var allowed []string
	for _, addr := range c.Far.Allowed {
		allowed = append(allowed, fmt.Sprintf("%s/%d", addr, addr.BitLen()))
	}
	fmt.Fprintf(&b, "AllowedIPs = %s\nPersistentKeepalive = %d\n", strings.Join(allowed, ", "), int(keepalive.Seconds()))
	return b.String()
}

// exportMTU is what every node carries.
const exportMTU = 1280
