// Command boothwire-relay is the thin reference relay: it carries the packets of
// sessions whose two ends no other path joins.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-relay/internal/config"
	"github.com/boothwire/boothwire/cmd/boothwire-relay/internal/metrics"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/nat"
	"github.com/boothwire/boothwire/relay/server"
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
		Run:      func(ctx context.Context, log *zap.Logger) error { return run(ctx, &cfg, log) },
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

// run serves until ctx ends.
func run(ctx context.Context, cfg *config.Config, log *zap.Logger) error {
	key, err := cfg.OpenKey()
	if err != nil {
		return err
	}
	roots, err := cfg.OpenRoots()
	if err != nil {
		return err
	}
	sc, err := cfg.Server(log)
	if err != nil {
		return err
	}
	srv, err := server.New(cfg.Name, key, roots, sc)
	if err != nil {
		return err
	}
	follow, err := cfg.Revocations(log)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if cfg.Metrics != "" {
		m, err := net.Listen("tcp", cfg.Metrics)
		if err != nil {
			ln.Close()
			return fmt.Errorf("listen for metrics: %w", err)
		}
		hs := &http.Server{Handler: metrics.Handler(srv)}
		go hs.Serve(m)
		defer hs.Close()
	}
	stun, err := listenSTUN(cfg.STUN)
	if err != nil {
		ln.Close()
		return err
	}
	log.Info("relay serves", zap.String("relay", cfg.Name), zap.Stringer("address", ln.Addr()), zap.Stringer("key", key.Public()))
	go follow(ctx, srv.Revoke)
	if len(stun) == 0 {
		return srv.Serve(ctx, ln)
	}
	// A relay whose STUN is broken ends, so that its supervisor sees it.
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		defer cancel()
		err := nat.ServeSTUN(both, stun...)
		for _, c := range stun {
			c.Close()
		}
		answered <- err
	}()
	err = srv.Serve(both, ln)
	cancel()
	return errors.Join(err, <-answered)
}

// listenSTUN opens the sockets, or none.
func listenSTUN(addrs []string) (all []net.PacketConn, err error) {
	for _, addr := range addrs {
		c, err := net.ListenPacket("udp", addr)
		if err != nil {
			for _, c := range all {
				c.Close()
			}
			return nil, fmt.Errorf("listen for STUN: %w", err)
		}
		all = append(all, c)
	}
	return all, nil
}
