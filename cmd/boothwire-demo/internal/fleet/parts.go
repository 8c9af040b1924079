package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/booth"
	"github.com/boothwire/boothwire/cmd/boothwire-demo/internal/broker"
	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling/https"
	"github.com/boothwire/boothwire/signaling/mqtt"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/agent"
)

// startControl runs the back end, which names a relay in its grants.
func (f *Fleet) startControl(ctx, run context.Context, b *broker.Broker, road control.Relay) error {
	log := f.log.Named("control")
	c, err := control.Open(ctx, "file:"+filepath.Join(f.Dir, "control.db"), &control.Config{
		Store:  keys.Dir(filepath.Join(f.Dir, "control")),
		Pin:    daemon.Pin(f.certificate),
		Relays: []control.Relay{road},
		Logger: log,
	})
	if err != nil {
		return err
	}
	f.later(c.Close)
	sender, err := mqtt.NewSender(b.URL, &mqtt.Config{Username: broker.Control, Password: b.Password(broker.Control), Spread: -1, Logger: log})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := https.Server(c)
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{f.certificate}, ClientAuth: tls.RequestClientCert, NextProtos: []string{"http/1.1"}}
	srv.ErrorLog = zap.NewStdLog(log)
	f.later(srv.Close)
	f.work.Go(func() { srv.Serve(tls.NewListener(ln, srv.TLSConfig)) })
	f.work.Go(func() {
		<-run.Done()
		srv.Close()
	})
	f.work.Go(func() {
		if err := c.Run(run, sender); err != nil && run.Err() == nil {
			log.Error("run", zap.Error(err))
		}
	})
	f.URL = "https://" + ln.Addr().String()
	token, err := c.Client(control.User{Name: "demo", Role: control.Admin}).CreateToken(ctx, &client.TokenRequest{User: "engineer", Role: "admin"})
	if err != nil {
		return err
	}
	f.Token = token.Secret
	f.http = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.pool}}
	f.later(func() error { f.Idle(); return nil })
	f.Client = client.New(f.URL, &client.Config{Token: f.Token, HTTP: &http.Client{Transport: f.http}})
	return f.startConsole(run, c)
}

// makeCertificate makes the certificate of control and relay, which is its own
// authority.
func (f *Fleet) makeCertificate() error {
	cert, key, err := daemon.SelfSigned("boothwire demo", 1)
	if err != nil {
		return err
	}
	if f.certificate, err = tls.X509KeyPair(cert, key); err != nil {
		return err
	}
	f.pool = x509.NewCertPool()
	f.pool.AddCert(f.certificate.Leaf)
	f.CA = filepath.Join(f.Dir, "control.pem")
	return os.WriteFile(f.CA, cert, 0o644)
}

// agent is what a kiosk embeds, on a connection of its own to the broker.
func (f *Fleet) agent(device *keys.Device, b *broker.Broker, k *Kiosk) (*agent.Agent, error) {
	log := f.log.Named("agent")
	line, err := mqtt.NewListener(device, b.URL, &mqtt.Config{Username: k.ID, Password: b.Password(k.ID), Spread: -1, Logger: log})
	if err != nil {
		return nil, err
	}
	return agent.New(device, line, &agent.Config{
		Mode:     tunnel.Driverless,
		Services: map[keys.Port]string{keys.TCP(22): k.SSH.Addr()},
		Relay:    f.Dialling(),
		Socket:   k.Router.Socket,
		MayOpen: func(context.Context, agent.Session) error {
			if _, err := os.Stat(filepath.Join(k.Dir, booth.Printer)); err != nil {
				return errors.New("the booth is not ready")
			}
			return nil
		},
		Version: "boothwire-demo",
		Logger:  log,
	})
}
