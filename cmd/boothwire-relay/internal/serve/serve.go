// Package serve is boothwire-relay at work: the relay, its metrics and a STUN server.
package serve

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-relay/internal/config"
	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/cmd/internal/relayd"
	"github.com/boothwire/boothwire/cmd/internal/stun"
	"github.com/boothwire/boothwire/internal/daemon"
)

// Run serves until ctx ends.
func Run(ctx context.Context, cfg *config.Config, log *zap.Logger) error {
	key, err := cfg.OpenKey()
	if err != nil {
		return err
	}
	roots, err := cfg.OpenRoots()
	if err != nil {
		return err
	}
	follow, err := cfg.Revocations(log)
	if err != nil {
		return err
	}
	answers, err := stun.Listen(cfg.STUN)
	if err != nil {
		return err
	}
	relay, err := relayd.Open(&cfg.Config, key, roots, log)
	if err != nil {
		answers.Close()
		return err
	}
	stop, err := metrics.Serve(cfg.Metrics, nil, func(m metrics.Writer) { relayd.Metrics(m, relay.Stats()) })
	if err != nil {
		answers.Close()
		relay.Close()
		return err
	}
	defer stop()
	daemon.Supervise(ctx, func() { _ = relay.Stats() })
	go follow(ctx, relay.Revoke)
	// A relay whose STUN is broken ends, so that its supervisor sees it.
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		defer cancel()
		answered <- answers.Serve(both)
	}()
	err = relay.Serve(both)
	cancel()
	return errors.Join(err, <-answered)
}
