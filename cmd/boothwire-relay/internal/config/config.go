// Package config is boothwire-relay's configuration file.
package config

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/server"
)

// Config is the file; example.toml beside main.go explains each field.
type Config struct {
	daemon.Settings
	Name      string          `toml:"name"`
	State     string          `toml:"state"`
	Listen    string          `toml:"listen"`
	Issuer    string          `toml:"issuer"`
	Roots     []string        `toml:"roots"`
	Control   string          `toml:"control"`
	TokenFile string          `toml:"token_file"`
	CA        string          `toml:"ca"`
	Rate      int64           `toml:"rate"`
	Legs      int             `toml:"legs"`
	Open      int             `toml:"open"`
	PerIP     int             `toml:"per_ip"`
	Lone      int             `toml:"lone"`
	LonePerIP int             `toml:"lone_per_ip"`
	Drain     daemon.Duration `toml:"drain"`
	Metrics   string          `toml:"metrics"`
	STUN      []string        `toml:"stun"`
	TLS       daemon.TLS      `toml:"tls"`
}

// Validate checks what types cannot say, before anything is opened.
func (c *Config) Validate() error {
	u, err := url.Parse(c.Control)
	switch {
	case !keys.ValidID(c.Name):
		return daemon.Wrong("name", "%q is no relay name: 1 to 64 of A-Z a-z 0-9 . _ -", c.Name)
	case c.State == "":
		return daemon.Wrong("state", "a folder for this relay's key is required")
	case c.Control != "" && (err != nil || u.Scheme != "https" || u.Host == ""):
		return daemon.Wrong("control", "%q is no https:// URL", c.Control)
	case (c.Control == "") != (c.TokenFile == ""):
		return daemon.Wrong("token_file", "control and token_file go together")
	case c.Rate < 0:
		return daemon.Wrong("rate", "%d is below zero", c.Rate)
	case c.Legs < 0:
		return daemon.Wrong("legs", "%d is below zero", c.Legs)
	case c.Open < 0:
		return daemon.Wrong("open", "%d is below zero", c.Open)
	case c.PerIP < 0:
		return daemon.Wrong("per_ip", "%d is below zero", c.PerIP)
	case c.Lone < 0:
		return daemon.Wrong("lone", "%d is below zero", c.Lone)
	case c.LonePerIP < 0:
		return daemon.Wrong("lone_per_ip", "%d is below zero", c.LonePerIP)
	case c.Drain < 0:
		return daemon.Wrong("drain", "%v is below zero", time.Duration(c.Drain))
	case c.TLS.Cert == "":
		return daemon.Wrong("tls.cert", "a certificate that kiosks can verify is required")
	}
	for field, addr := range map[string]string{"listen": c.Listen, "metrics": c.Metrics} {
		if _, _, err := net.SplitHostPort(addr); err != nil && (field == "listen" || addr != "") {
			return daemon.Wrong(field, "%q is no address such as 0.0.0.0:443", addr)
		}
	}
	for _, addr := range c.STUN {
		if _, err := netip.ParseAddrPort(addr); err != nil {
			return daemon.Wrong("stun", "%q is no address such as 203.0.113.7:3478", addr)
		}
	}
	if _, err := keys.ParseRoots(c.Issuer, c.Roots...); err != nil {
		return &daemon.FieldError{Field: "roots", Err: err}
	}
	return daemon.In("tls", c.TLS.Validate())
}

const keyName = "relay-key"

// OpenKey opens the key in the state folder, or makes it.
func (c *Config) OpenKey() (keys.PrivateKey, error) {
	store := keys.Dir(c.State)
	text, err := store.Load(keyName)
	if errors.Is(err, fs.ErrNotExist) {
		key := keys.NewPrivateKey()
		if err := store.Save(keyName, []byte(key.Expose())); err != nil {
			return key, fmt.Errorf("keep the relay's key: %w", err)
		}
		return key, nil
	}
	if err != nil {
		return keys.PrivateKey{}, fmt.Errorf("the relay's key: %w", err)
	}
	return keys.ParsePrivateKey(string(text))
}

// OpenRoots opens the deployment's roots.
func (c *Config) OpenRoots() (*keys.Roots, error) {
	return keys.OpenRoots(keys.Dir(c.State), c.Issuer, c.Roots...)
}

// Server is how the relay runs.
func (c *Config) Server(log *zap.Logger) (*server.Config, error) {
	t, err := c.TLS.Config()
	if err != nil {
		return nil, err
	}
	return &server.Config{
		TLS: t, Drain: time.Duration(c.Drain), Legs: c.Legs, Open: c.Open, PerIP: c.PerIP,
		Lone: c.Lone, LonePerIP: c.LonePerIP, Rate: keys.Rate(c.Rate), Logger: log,
	}, nil
}

// again is how long after a refusal control is asked again.
const again = 10 * time.Second

// Revocations returns what follows control until ctx ends: each session that is over
// there ends here. Without a control it does nothing, and sessions end with their
// tokens.
func (c *Config) Revocations(log *zap.Logger) (func(ctx context.Context, revoke func(session string)), error) {
	if c.Control == "" {
		return func(context.Context, func(string)) {}, nil
	}
	token, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return nil, &daemon.FieldError{Field: "token_file", Err: err}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, &daemon.FieldError{Field: "ca", Err: err}
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, daemon.Wrong("ca", "%s holds no PEM certificate", c.CA)
		}
	}
	ctl := client.New(c.Control, &client.Config{Token: strings.TrimSpace(string(token)), HTTP: &http.Client{Transport: t}})
	return func(ctx context.Context, revoke func(session string)) {
		for ctx.Err() == nil {
			err := ctl.Revocations(ctx, func(session string) error { revoke(session); return nil })
			if ctx.Err() != nil {
				return
			}
			log.Warn("control tells no revocations", zap.Error(err))
			select {
			case <-time.After(again):
			case <-ctx.Done():
			}
		}
	}, nil
}
