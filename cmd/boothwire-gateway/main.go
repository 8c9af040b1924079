// Command boothwire-gateway is the thin reference node: devices and operators
// meet in it, and it lets through what grants allow.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-gateway/internal/config"
	"github.com/boothwire/boothwire/gateway"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/keys"
)

//go:embed example.toml
var example string

func main() {
	var cfg config.Config
	daemon.Main(daemon.Program{
		Name:     "boothwire-gateway",
		Summary:  "is one node: it carries sessions between devices and operators.",
		Example:  example,
		Config:   &cfg,
		Settings: &cfg.Settings,
		Run:      func(ctx context.Context, log *zap.Logger) error { return run(ctx, &cfg, log) },
	})
}

// run enrols the node where it has not, and follows control until ctx ends.
func run(ctx context.Context, cfg *config.Config, log *zap.Logger) error {
	client, err := cfg.Client()
	if err != nil {
		return err
	}
	store := keys.Dir(cfg.State)
	enrolment, err := gateway.Enroll(ctx, cfg.Control, store, cfg.Enrolment(client, log))
	if err != nil {
		return fmt.Errorf("enrol at %s: %w", cfg.Control, err)
	}
	roots, err := keys.OpenRoots(store, enrolment.Issuer, enrolment.Roots...)
	if err != nil {
		return err
	}
	how, err := cfg.Node(store, log)
	if err != nil {
		return err
	}
	node, err := gateway.Open(ctx, enrolment.Name, roots, how)
	if err != nil {
		return err
	}
	err = node.Follow(ctx, cfg.Control, &gateway.FollowConfig{HTTP: client})
	return errors.Join(err, node.Close())
}
