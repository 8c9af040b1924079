package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/boothwire/boothwire/gateway/control/client"
)

func (a *app) nodes() *cobra.Command {
	c := &cobra.Command{
		Use:   "nodes",
		Short: "list the nodes, or add, drain and remove them",
		Args:  cobra.NoArgs,
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, _ []string) error {
			return list(a, ctl.Nodes(cmd.Context()), "NODE REGION STATE SEEN SESSIONS LEAVING ENDPOINTS PROOF VERSION", func(n client.Node) []any {
				var at []string
				for _, e := range n.Endpoints {
					at = append(at, e.String())
				}
				return []any{n.Name, n.Region, nodeState(n), ago(n.LastSeen), held(n), n.Leaving, strings.Join(at, ","), valid(n.Proof), n.Version}
			})
		}),
	}
	add := &cobra.Command{
		Use:   "add NAME",
		Short: "print a claim, with which a node of that name may enrol once",
		Args:  cobra.ExactArgs(1),
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, args []string) error {
			k, err := ctl.ClaimNode(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(k)
			}
			fmt.Fprintln(a.out, k.Claim)
			fmt.Fprintf(a.err, "put it into the claim of %s's configuration before %s\n", k.Node, k.Expires.Local().Format(time.DateTime))
			return nil
		}),
	}
	remove := &cobra.Command{
		Use:   "remove NAME",
		Short: "forget a node; its sessions end",
		Args:  cobra.ExactArgs(1),
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, args []string) error {
			return ctl.DeleteNode(cmd.Context(), args[0])
		}),
	}
	c.AddCommand(add, a.nodeDrain(), a.nodeUndrain(), remove)
	return c
}

func (a *app) nodeDrain() *cobra.Command {
	var move bool
	c := &cobra.Command{
		Use:   "drain NAME",
		Short: "give a node no new sessions; those that it has end there, or move",
		Args:  cobra.ExactArgs(1),
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, args []string) error {
			return a.drain(cmd.Context(), ctl, args[0], client.DrainRequest{Draining: true, Move: move})
		}),
	}
	c.Flags().BoolVar(&move, "move", false, "move the sessions that it has to other nodes; connections stay")
	return c
}

func (a *app) nodeUndrain() *cobra.Command {
	return &cobra.Command{
		Use:   "undrain NAME",
		Short: "give a node new sessions again; what is on its way elsewhere goes on",
		Args:  cobra.ExactArgs(1),
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, args []string) error {
			return a.drain(cmd.Context(), ctl, args[0], client.DrainRequest{})
		}),
	}
}

func (a *app) drain(ctx context.Context, ctl *client.Client, name string, r client.DrainRequest) error {
	n, err := ctl.DrainNode(ctx, name, r)
	if err != nil {
		return err
	}
	return a.show(n, "node", n.Name, "state", nodeState(n), "sessions", n.Sessions, "leaving", n.Leaving)
}

// held is how many sessions a node has, and how many it may have.
func held(n client.Node) string {
	if n.Capacity == 0 {
		return strconv.Itoa(n.Sessions)
	}
	return fmt.Sprintf("%d/%d", n.Sessions, n.Capacity)
}

// nodeState is a node's state, and whether it takes new sessions.
func nodeState(n client.Node) string {
	switch {
	case n.Moving:
		return n.State + ",moving"
	case n.Draining:
		return n.State + ",draining"
	}
	return n.State
}

func (a *app) trust() *cobra.Command {
	return &cobra.Command{
		Use:   "trust",
		Short: "print the deployment and its roots, for the configuration of agents",
		Args:  cobra.NoArgs,
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, _ []string) error {
			t, err := ctl.Trust(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(t, "issuer", t.Issuer, "roots", strings.Join(t.Roots, " "))
		}),
	}
}

func (a *app) tokens() *cobra.Command {
	c := &cobra.Command{
		Use:   "tokens",
		Short: "list the tokens of the API, or add and remove them",
		Args:  cobra.NoArgs,
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, _ []string) error {
			return list(a, ctl.Tokens(cmd.Context()), "ID USER ROLE GROUPS CREATED", func(t client.Token) []any {
				return []any{t.ID, t.User, t.Role, strings.Join(t.Groups, ","), t.Created.Local().Format(time.DateTime)}
			})
		}),
	}
	var req client.TokenRequest
	var life time.Duration
	add := &cobra.Command{
		Use:   "add USER ROLE",
		Short: "make a token: viewer, operator, approver, admin or relay; it is shown once",
		Args:  cobra.ExactArgs(2),
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, args []string) error {
			req.User, req.Role, req.Lifetime = args[0], args[1], client.SecondsOf(life)
			t, err := ctl.CreateToken(cmd.Context(), &req)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(t)
			}
			_, err = fmt.Fprintln(a.out, t.Secret)
			return err
		}),
	}
	add.Flags().StringSliceVar(&req.Groups, "group", nil, "only devices of this group (repeatable)")
	add.Flags().DurationVar(&life, "for", 0, "how long it counts; default until it is removed")
	remove := &cobra.Command{
		Use:   "remove ID",
		Short: "make a token worthless",
		Args:  cobra.ExactArgs(1),
		RunE: a.with(func(cmd *cobra.Command, ctl *client.Client, args []string) error {
			return ctl.DeleteToken(cmd.Context(), args[0])
		}),
	}
	c.AddCommand(add, remove)
	return c
}
