// Command boothwire-control is the thin reference back end: it knows the fleet,
// decides who may open a session, and signs for it.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-control/internal/config"
	"github.com/boothwire/boothwire/cmd/boothwire-control/internal/serve"
	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/daemon"
)

//go:embed example.toml
var example string

func main() {
	var cfg config.Config
	daemon.Main(daemon.Program{
		Name:     "boothwire-control",
		Summary:  "is the back end: devices, nodes, sessions, grants and audit.",
		Example:  example,
		Config:   &cfg,
		Settings: &cfg.Settings,
		Run:      func(ctx context.Context, log *zap.Logger) error { return serve.Run(ctx, &cfg, log) },
		Commands: map[string]daemon.Command{
			"token": {Summary: "USER ROLE: make a token of the API before the first start (later: boothctl tokens add)", Run: func(ctx context.Context, args []string, out io.Writer) error {
				return token(ctx, &cfg, args, out)
			}},
		},
	})
}

// token makes the first token, which no token can be needed for.
func token(ctx context.Context, cfg *config.Config, args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: boothwire-control -config FILE token USER viewer|operator|approver|admin")
	}
	c, err := control.Open(ctx, cfg.DSN(), cfg.Control("", zap.NewNop()))
	if err != nil {
		return err
	}
	made, err := c.Client(control.User{Name: "console", Role: control.Admin}).CreateToken(ctx, &client.TokenRequest{User: args[0], Role: args[1]})
	if err == nil {
		_, err = fmt.Fprintln(out, made.Secret)
	}
	return errors.Join(err, c.Close())
}
