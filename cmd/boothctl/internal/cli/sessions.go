package cli

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/boothwire/boothwire/gateway/control/client"
)

func (a *app) sessions() *cobra.Command {
	var f client.Filter
	var all bool
	c := &cobra.Command{
		Use:     "sessions",
		Aliases: []string{"session"},
		Short:   "list the open sessions, or all of them",
		Args:    cobra.NoArgs,
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, _ []string) error {
			f.Open = !all
			return list(a, ctl.Sessions(cmd.Context(), f), "SESSION DEVICE NODE STATE PATH RTT OPENED ENDS RECEIVED SENT WHO CODE WHY", func(s client.Session) []any {
				return []any{s.ID, s.Device, s.Node, s.State, s.Path, rtt(s), ago(s.Opened), left(s), size(s.Rx), size(s.Tx), who(s), s.Code, reason(s.Path, s.PathWhy)}
			})
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "those that are over, too")
	c.Flags().StringVar(&f.Device, "device", "", "only this device's")
	c.AddCommand(a.sessionShow(), a.sessionExport())
	return c
}

func (a *app) sessionShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show SESSION|DEVICE",
		Short:             "show one session: its path and why, the time on each kind, its bytes and ladder",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.deviceArg,
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, args []string) error {
			s, err := find(cmd, ctl, args[0])
			if err != nil {
				return err
			}
			facts := []any{"session", s.ID, "device", s.Device, "node", s.Node, "end to end", mark(s.EndToEnd), "state", s.State, "code", s.Code, "why", s.Why,
				"path", s.Path, "path why", reason(s.Path, s.PathWhy), "spent", spent(s.Paths.Direct.Duration(), s.Paths.Relay.Duration()), "rtt", rtt(s),
				"received", size(s.Rx), "sent", size(s.Tx), "address", valid(s.Address), "operators", who(s), "reason", s.Reason, "ticket", s.Ticket,
				"opened", when(s.Opened), "ends", when(s.Ends), "closed", when(s.Closed)}
			for _, p := range s.Ladder {
				facts = append(facts, p.By, strings.TrimSpace(fmt.Sprintf("%s after %s %s", p.Stage, p.After.Duration().Round(time.Millisecond), p.Code)))
			}
			return a.show(s, facts...)
		}),
	}
}

// who are the users in a session.
func who(s client.Session) string {
	var all []string
	for _, o := range s.Operators {
		all = append(all, o.User)
	}
	return strings.Join(all, ",")
}

func mark(yes bool) string {
	if yes {
		return "yes"
	}
	return ""
}

func rtt(s client.Session) string {
	if s.RTT == 0 {
		return ""
	}
	return s.RTT.Duration().Round(100 * time.Microsecond).String()
}

func left(s client.Session) string {
	if s.State.Final() {
		return ""
	}
	return time.Until(s.Ends).Round(time.Second).String()
}

func (a *app) close() *cobra.Command {
	var everybody bool
	c := &cobra.Command{
		Use:               "close SESSION|DEVICE",
		Short:             "leave a session; the last operator's leaving closes it",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.deviceArg,
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, args []string) error {
			s, err := find(cmd, ctl, args[0])
			if err != nil {
				return err
			}
			leave := ctl.CloseSession
			if everybody {
				leave = ctl.CloseForAll
			}
			if s, err = leave(cmd.Context(), s.ID); err != nil {
				return err
			}
			for s, err = range ctl.WatchSession(cmd.Context(), s.ID) {
				if err != nil {
					return err
				}
				if s.State != client.Closing {
					break
				}
			}
			return a.show(s, "session", s.ID, "device", s.Device, "state", s.State, "received", size(s.Rx), "sent", size(s.Tx))
		}),
	}
	c.Flags().BoolVar(&everybody, "all", false, "close it for everybody who is in it; where others are an approver may")
	return c
}

func (a *app) extend() *cobra.Command {
	return &cobra.Command{
		Use:               "extend SESSION|DEVICE DURATION",
		Short:             "let a session last for so long from now",
		Example:           "  boothctl extend kiosk-00042 2h",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.deviceArg,
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, args []string) error {
			d, err := time.ParseDuration(args[1])
			if err != nil || d < time.Second {
				return usageError{fmt.Errorf("%q is no duration such as 90m", args[1])}
			}
			s, err := find(cmd, ctl, args[0])
			if err != nil {
				return err
			}
			if s, err = ctl.ExtendSession(cmd.Context(), s.ID, d); err != nil {
				return err
			}
			s.Grant = ""
			return a.show(s, "session", s.ID, "device", s.Device, "ends", when(s.Ends))
		}),
	}
}

// find takes a session's id, or the device that has one open.
func find(cmd *cobra.Command, ctl *client.Client, name string) (client.Session, error) {
	s, err := ctl.Session(cmd.Context(), name)
	if no, ok := errors.AsType[*client.Error](err); !ok || no.Status != http.StatusNotFound {
		return s, err
	}
	for s, err := range ctl.Sessions(cmd.Context(), client.Filter{Device: name, Open: true}) {
		return s, err
	}
	return s, fmt.Errorf("there is no session %q, and no open one of a device of that name", name)
}
