// Package serve is boothwire-gateway at work: the node, and what it may have beside
// it in its process, a relay, a STUN server and metrics.
package serve

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-gateway/internal/config"
	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/cmd/internal/relayd"
	"github.com/boothwire/boothwire/cmd/internal/stun"
	"github.com/boothwire/boothwire/gateway"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/keys"
)

// Run enrols the node where it has not, and serves until ctx ends.
func Run(ctx context.Context, cfg *config.Config, log *zap.Logger) (err error) {
	client, err := cfg.Client()
	if err != nil {
		return err
	}
	answers, err := stun.Listen(cfg.STUN)
	if err != nil {
		return err
	}
	defer answers.Close()
	store := keys.Dir(cfg.State)
	enrolment, err := gateway.Enroll(ctx, cfg.Control, store, cfg.Enrolment(client, log))
	if err != nil {
		return fmt.Errorf("enrol at %s: %w", cfg.Control, err)
	}
	roots, err := keys.OpenRoots(store, enrolment.Issuer, enrolment.Roots...)
	if err != nil {
		return err
	}
	var relay *relayd.Relay
	var near config.Near
	if cfg.Relay != nil {
		if relay, err = openRelay(cfg, roots, log); err != nil {
			return err
		}
		defer relay.Close()
		near = relay.Near
	}
	how, err := cfg.Node(store, near, log)
	if err != nil {
		return err
	}
	// The node comes last: whatever fails after it ends the sessions that a former
	// process left.
	shows, err := metrics.Listen(cfg.Metrics)
	if err != nil {
		return err
	}
	defer shows.Close()
	node, err := gateway.Open(ctx, enrolment.Name, roots, how)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	follow := &gateway.FollowConfig{HTTP: client}
	shown := []func(metrics.Writer){func(m metrics.Writer) { figures(m, node.Stats()) }}
	beside := []func(context.Context) error{answers.Serve}
	if relay != nil {
		follow.Over = relay.Revoke
		shown = append(shown, func(m metrics.Writer) { relayd.Metrics(m, relay.Stats()) })
		beside = append(beside, relay.Serve)
	}
	shows.Serve(ready(ctx, node), shown...)
	daemon.Supervise(ctx, func() { _ = node.Ready() })
	return together(ctx, func(ctx context.Context) error { return node.Follow(ctx, cfg.Control, follow) }, beside...)
}

// openRelay opens the relay, which knows the node's roots.
func openRelay(cfg *config.Config, roots *keys.Roots, log *zap.Logger) (*relayd.Relay, error) {
	key, err := cfg.RelayKey()
	if err != nil {
		return nil, err
	}
	return relayd.Open(cfg.Relay, key, roots, log)
}

// together runs the node and what is beside it until ctx ends or one of them does.
// The node ends last: its own sessions may be among those that the relay sends
// elsewhere before it ends, and they need the node for that.
func together(ctx context.Context, node func(context.Context) error, beside ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	last, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	followed := make(chan error, 1)
	go func() {
		defer cancel()
		followed <- node(last)
	}()
	errs := make([]error, len(beside))
	var work sync.WaitGroup
	for i, f := range beside {
		work.Go(func() {
			defer cancel()
			errs[i] = f(ctx)
		})
	}
	<-ctx.Done()
	work.Wait()
	end()
	if err := <-followed; !errors.Is(err, context.Canceled) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
