// Command boothwire-gateway is the thin reference node: devices and operators
// meet in it, and it lets through what grants allow.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-gateway/internal/config"
	"github.com/boothwire/boothwire/cmd/boothwire-gateway/internal/serve"
	"github.com/boothwire/boothwire/internal/daemon"
)

//go:embed example.toml
var example string

func main() {
	var cfg config.Config
	daemon.Main(daemon.Program{
		Name:     "boothwire-gateway",
		Summary:  "is one node: it carries sessions between devices and operators, by a relay of its own where it has one.",
		Example:  example,
		Config:   &cfg,
		Settings: &cfg.Settings,
		Run:      func(ctx context.Context, log *zap.Logger) error { return serve.Run(ctx, &cfg, log) },
		Commands: map[string]daemon.Command{
			"relay-key": {Summary: "print the public key of the relay that it carries, for [[relay]] in control's configuration", Run: func(_ context.Context, _ []string, out io.Writer) error {
				key, err := cfg.RelayKey()
				if err == nil {
					_, err = fmt.Fprintln(out, key.Public())
				}
				return err
			}},
		},
	})
}
