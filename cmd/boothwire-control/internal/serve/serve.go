// Package serve is boothwire-control at work: one HTTPS address for the API, the
// nodes and the devices that signal over HTTPS, and a connection to the broker.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-control/internal/config"
	"github.com/boothwire/boothwire/cmd/boothwire-control/internal/figures"
	"github.com/boothwire/boothwire/cmd/internal/metrics"
	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/https"
)

// grace is how long requests under way may take when the program ends.
const grace = 5 * time.Second

// Run serves until ctx ends.
func Run(ctx context.Context, cfg *config.Config, log *zap.Logger) (err error) {
	if err := os.MkdirAll(cfg.State, 0o700); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	cert, pin, err := certificate(cfg)
	if err != nil {
		return err
	}
	settings := cfg.Control(pin, log)
	settings.URL, settings.URLPin = cfg.Reached(), daemon.Pin(cert)
	c, err := control.Join(ctx, cfg.DSN(), settings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()

	polls := https.NewSender(c, &https.Config{Logger: log})
	defer polls.Close()
	lines := []signaling.Sender{polls}
	broker, err := cfg.Sender(log)
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	shown := []func(metrics.Writer){func(m metrics.Writer) { figures.Member(m, c) }}
	if broker != nil {
		lines = append(lines, broker)
		shown = append(shown, func(m metrics.Writer) { figures.Lines(m, broker) })
	}
	mux := http.NewServeMux()
	mux.Handle("/device/", polls)
	mux.Handle("/", c)
	if cfg.Console.On() {
		desk, err := cfg.OpenConsole(c, log.Named("console"))
		if err != nil {
			return err
		}
		defer desk.Close()
		shown = append(shown, func(m metrics.Writer) { figures.Desktops(m, desk.DesktopStats()); figures.Logins(m, desk.LoginStats()) })
		mux.Handle("/console/", desk)
		mux.Handle("GET /{$}", http.RedirectHandler("/console/", http.StatusSeeOther))
	}
	stop, err := metrics.Serve(cfg.Metrics, c.Health, shown...)
	if err != nil {
		return err
	}
	defer stop()
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	srv := https.Server(c.Handler(mux, "/console/"))
	srv.ErrorLog = zap.NewStdLog(log)
	srv.TLSConfig = &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		ClientAuth:   tls.RequestClientCert, // nodes show theirs; control knows their keys
		NextProtos:   []string{"http/1.1"},
	}
	if cfg.Console.On() {
		// A browser has six connections of HTTP/1.1, and each page of a session holds one.
		srv.Protocols.SetHTTP2(true)
		srv.TLSConfig.NextProtos = []string{"h2", "http/1.1"}
	}
	log.Info("serving", zap.Stringer("address", ln.Addr()))
	daemon.Supervise(ctx, func() { _, _ = c.Stats() })
	return serve(ctx, c, srv, tls.NewListener(ln, srv.TLSConfig), lines)
}

// serve runs control and its server until ctx or either of them ends.
func serve(ctx context.Context, c *control.Member, srv *http.Server, ln net.Listener, lines []signaling.Sender) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	srv.BaseContext = func(net.Listener) context.Context { return ctx }
	failed := make(chan error, 2)
	go func() { failed <- srv.Serve(ln) }()
	go func() { failed <- c.Run(ctx, lines...) }()
	var errs []error
	select {
	case err := <-failed:
		errs = append(errs, err)
	case <-ctx.Done():
	}
	cancel()
	end, stop := context.WithTimeout(context.Background(), grace)
	defer stop()
	if srv.Shutdown(end) != nil {
		srv.Close()
	}
	for len(errs) < cap(failed) {
		errs = append(errs, <-failed)
	}
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool {
		return errors.Is(err, http.ErrServerClosed) || errors.Is(err, context.Canceled)
	})...)
}
