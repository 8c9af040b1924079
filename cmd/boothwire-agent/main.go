// Windows has made certificates of RDP servers with negative serial numbers.
//go:debug x509negativeserial=1

// Command boothwire-agent is the thin reference agent: a kiosk's side of
// boothwire as a program of its own, for tests and for hosts that have no
// application to embed package tunnel/agent in.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-agent/internal/config"
	"github.com/boothwire/boothwire/cmd/boothwire-agent/internal/figures"
	"github.com/boothwire/boothwire/cmd/boothwire-agent/internal/hostcheck"
	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/tunnel/agent"
)

//go:embed example.toml
var example string

func main() {
	var cfg config.Config
	daemon.Main(daemon.Program{
		Name:     "boothwire-agent",
		Summary:  "lets engineers reach this device when control's signed grant says so.",
		Example:  example,
		Config:   &cfg,
		Settings: &cfg.Settings,
		Run:      func(ctx context.Context, log *zap.Logger) error { return run(ctx, &cfg, log) },
		Commands: map[string]daemon.Command{
			"key": {Summary: "print this device's identity key, to register it with boothctl devices add", Run: func(_ context.Context, _ []string, out io.Writer) error {
				device, err := cfg.OpenDevice()
				if err == nil {
					_, err = fmt.Fprintln(out, device.Key())
				}
				return err
			}},
			"preflight": {Summary: "check whether this host is ready for sessions, -json for programs; exit status 1 says that it is not", Run: func(ctx context.Context, args []string, out io.Writer) error {
				return hostcheck.Run(ctx, cfg.Preflight(), args, out)
			}},
		},
	})
}

// run serves until ctx ends.
func run(ctx context.Context, cfg *config.Config, log *zap.Logger) error {
	device, err := cfg.OpenDevice()
	if err != nil {
		return err
	}
	log.Info("device", zap.String("device", device.ID()), zap.Stringer("identity", device.Key()))
	cfg.FollowRDP(ctx, device, log)
	line, err := cfg.Line(device, log)
	if err != nil {
		return err
	}
	relays, err := cfg.Relay(log)
	if err != nil {
		return err
	}
	a, err := agent.New(device, line, &agent.Config{
		Mode:     cfg.Tunnel(),
		Services: cfg.Forwards(),
		Relay:    relays,
		Bare:     cfg.Bare,
		Pool:     cfg.TunnelPool(),
		Version:  daemon.Version(),
		Logger:   log,
	})
	if err != nil {
		return err
	}
	stop, err := metrics.Serve(cfg.Metrics, nil, func(m metrics.Writer) { figures.Write(m, a.Stats(), a.Status()) })
	if err != nil {
		return err
	}
	defer stop()
	return a.Run(ctx)
}
