// Command boothwire-relay is the thin reference relay: it carries the packets of
// sessions whose two ends no other path joins.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-relay/internal/config"
	"github.com/boothwire/boothwire/cmd/boothwire-relay/internal/serve"
	"github.com/boothwire/boothwire/internal/daemon"
)

//go:embed example.toml
var example string

func main() {
	var cfg config.Config
	daemon.Main(daemon.Program{
		Name:     "boothwire-relay",
		Summary:  "carries the packets of sessions between two ends that control has named.",
		Example:  example,
		Config:   &cfg,
		Settings: &cfg.Settings,
		Run:      func(ctx context.Context, log *zap.Logger) error { return serve.Run(ctx, &cfg, log) },
		Commands: map[string]daemon.Command{
			"key": {Summary: "print this relay's public key, for [[relay]] in control's configuration", Run: func(_ context.Context, _ []string, out io.Writer) error {
				key, err := cfg.OpenKey()
				if err == nil {
					_, err = fmt.Fprintln(out, key.Public())
				}
				return err
			}},
		},
	})
}
