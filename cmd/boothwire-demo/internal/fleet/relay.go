package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/relay/server"
)

// RelayName is the demo's relay.
const RelayName = "relay-bj-01"

// listenRelay opens the relay's port, which control tells of. The relay has
// control's certificate.
func (f *Fleet) listenRelay(ctx context.Context) (control.Relay, error) {
	var err error
	var listen net.ListenConfig
	if f.relayPort, err = listen.Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return control.Relay{}, err
	}
	f.later(func() error {
		if err := f.relayPort.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	f.relayKey = keys.NewPrivateKey()
	return control.Relay{Name: RelayName, URL: "https://" + f.relayPort.Addr().String() + "/relay", Key: f.relayKey.Public()}, nil
}

// startRelay serves what control vouches for, and ends what control revokes.
func (f *Fleet) startRelay(ctx, run context.Context) error {
	trust, err := f.Client.Trust(ctx)
	if err != nil {
		return err
	}
	roots, err := keys.ParseRoots(trust.Issuer, trust.Roots...)
	if err != nil {
		return err
	}
	log := f.log.Named("relay")
	f.Relay, err = server.New(RelayName, f.relayKey, roots, &server.Config{
		TLS:    &tls.Config{Certificates: []tls.Certificate{f.certificate}},
		Drain:  time.Millisecond,
		Logger: log,
	})
	if err != nil {
		return err
	}
	f.work.Go(func() {
		if err := f.Relay.Serve(run, f.relayPort); err != nil && run.Err() == nil {
			log.Error("serve", zap.Error(err))
		}
	})
	f.work.Go(func() {
		err := f.Client.Revocations(run, func(session string) error { f.Relay.Revoke(session); return nil })
		if err != nil && run.Err() == nil {
			log.Error("revocations", zap.Error(err))
		}
	})
	return nil
}

// Dialling is how a relay is dialled here: its certificate is known, and no proxy
// stands between.
func (f *Fleet) Dialling() *relay.Config {
	direct := func(*http.Request) (*url.URL, error) { return nil, nil }
	return &relay.Config{TLS: &tls.Config{RootCAs: f.pool}, Proxy: direct, Logger: f.log.Named("leg")}
}

// Socket opens a UDP socket of the engineer's on loopback.
func (f *Fleet) Socket() (net.PacketConn, error) { return net.ListenPacket("udp", "127.0.0.1:0") }
