// Package serve is boothwire-relay at work: the relay, its metrics and a STUN server.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-relay/internal/config"
	"github.com/boothwire/boothwire/cmd/boothwire-relay/internal/metrics"
	"github.com/boothwire/boothwire/nat"
	"github.com/boothwire/boothwire/relay/server"
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
