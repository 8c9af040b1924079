package cli

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel/preflight"
)

func (a *app) devices() *cobra.Command {
	var f client.Filter
	var watch bool
	c := &cobra.Command{
		Use:   "devices",
		Short: "list the devices, or add, import, show and remove them",
		Args:  cobra.NoArgs,
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, _ []string) error {
			if watch {
				return a.follow(cmd.Context(), ctl, f)
			}
			return list(a, ctl.Devices(cmd.Context(), f), "DEVICE ONLINE STATE SEEN ADDRESS GROUP GEN SESSION NOTE", func(d client.Device) []any {
				return []any{d.ID, d.Online, d.State, ago(d.LastSeen), valid(d.Address), d.Group, d.Gen, d.Session, note(d)}
			})
		}),
	}
	c.Flags().StringVar(&f.Group, "group", "", "only those of this group")
	c.Flags().StringVar(&f.Text, "match", "", "only those whose id contains this")
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on with a line for each change, until Ctrl-C")
	c.AddCommand(a.deviceAdd(), a.deviceImport(), a.deviceShow(), a.deviceRemove())
	return c
}

// note is what an operator must know before he connects.
func note(d client.Device) string {
	switch {
	case d.Foreign != "":
		return "another key speaks for it: " + d.Foreign
	case d.Key.IsZero():
		return "not registered"
	}
	return ""
}

// valid is an address, or nothing when there is none.
func valid[T interface {
	IsValid() bool
	String() string
}](addr T) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.String()
}

// when is a time for people, or nothing when there is none.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

func (a *app) deviceAdd() *cobra.Command {
	var group string
	c := &cobra.Command{
		Use:     "add ID KEY",
		Short:   "register a device with its identity key, or change its group",
		Long:    "The key is what `boothwire-agent -config FILE key` prints on the device. It is never learned from a message: whoever broke the broker could send one.",
		Example: "  boothctl devices add kiosk-00042 q6Vv...=",
		Args:    cobra.ExactArgs(2),
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, args []string) error {
			key, err := keys.ParseIdentityKey(args[1])
			if err != nil {
				return usageError{fmt.Errorf("the key: %w", err)}
			}
			d, err := ctl.PutDevice(cmd.Context(), args[0], &client.DeviceRequest{Key: key, Group: group})
			if err != nil {
				return err
			}
			return a.show(d, "device", d.ID, "key", d.Key, "ssh host key", d.SSH, "rdp certificate", d.RDP, "group", d.Group)
		}),
	}
	c.Flags().StringVar(&group, "group", "", "group of devices that operators may be limited to")
	return c
}

func (a *app) deviceImport() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE.csv",
		Short: "register many devices: lines of id,key[,group]",
		Long:  "All lines are taken or none: an error names each line that is wrong.",
		Args:  cobra.ExactArgs(1),
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			done, err := ctl.ImportDevices(cmd.Context(), f)
			if err != nil {
				return err
			}
			return a.show(done, "added", done.Added, "changed", done.Changed, "same", done.Same)
		}),
	}
}

func (a *app) deviceShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show ID",
		Short:             "show what control knows of a device",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.deviceArg,
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, args []string) error {
			d, err := ctl.Device(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			err = a.show(d, "device", d.ID, "online", d.Online, "state", d.State, "seen", ago(d.LastSeen),
				"next status", when(d.Next), "address", valid(d.Address), "version", d.Version, "caps", strings.Join(d.Caps, ","), "group", d.Group,
				"generation", d.Gen, "key", d.Key, "ssh host key", d.SSH, "rdp certificate", d.RDP, "boot", d.Boot, "one-time keys", d.Prekeys, "session", d.Session, "network", d.NAT, "trouble", strings.Join(d.Trouble, ", "), "note", note(d))
			if err == nil && !a.json {
				err = a.showChecks(d.Preflight)
			}
			return err
		}),
	}
}

// showChecks prints what a device found of its host.
func (a *app) showChecks(list []client.Check) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintln(a.out, "\npreflight, as the device found it:")
	found := make([]preflight.Result, len(list))
	for i, c := range list {
		found[i] = preflight.Result{Check: clean(c.Check), State: preflight.State(clean(c.State)), Code: clean(c.Code), Detail: clean(c.Detail)}
	}
	return preflight.Write(a.out, found)
}

func (a *app) deviceRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "remove ID",
		Short:             "forget a device: it can no longer be woken",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.deviceArg,
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, args []string) error {
			return ctl.DeleteDevice(cmd.Context(), args[0])
		}),
	}
}
