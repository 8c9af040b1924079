// Package config is boothwire-relay's configuration file.
package config

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/internal/relayd"
	"github.com/boothwire/boothwire/cmd/internal/stun"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/keys"
)

// Config is the file; example.toml beside main.go explains each field.
type Config struct {
	daemon.Settings
	relayd.Config
	State     string   `toml:"state"`
	Issuer    string   `toml:"issuer"`
	Roots     []string `toml:"roots"`
	Control   string   `toml:"control"`
	TokenFile string   `toml:"token_file"`
	CA        string   `toml:"ca"`
	Metrics   string   `toml:"metrics"`
	STUN      []string `toml:"stun"`
}

// Validate checks what types cannot say, before anything is opened.
func (c *Config) Validate() error {
	u, err := url.Parse(c.Control)
	switch {
	case c.State == "":
		return daemon.Wrong("state", "a folder for this relay's key is required")
	case c.Control != "" && (err != nil || u.Scheme != "https" || u.Host == ""):
		return daemon.Wrong("control", "%q is no https:// URL", c.Control)
	case (c.Control == "") != (c.TokenFile == ""):
		return daemon.Wrong("token_file", "control and token_file go together")
	}
	for _, err := range []error{c.Config.Validate(), relayd.ValidateMetrics(c.Metrics), stun.Validate(c.STUN)} {
		if err != nil {
			return err
		}
	}
	if _, err := keys.ParseRoots(c.Issuer, c.Roots...); err != nil {
		return &daemon.FieldError{Field: "roots", Err: err}
	}
	return nil
}

// CheckFiles reads the files that the configuration names.
func (c *Config) CheckFiles() error {
	if err := c.Config.CheckFiles(); err != nil {
		return err
	}
	_, err := c.Revocations(zap.NewNop())
	return err
}

// OpenKey opens the key in the state folder, or makes it.
func (c *Config) OpenKey() (keys.PrivateKey, error) { return relayd.OpenKey(keys.Dir(c.State)) }

// OpenRoots opens the deployment's roots.
func (c *Config) OpenRoots() (*keys.Roots, error) {
	return keys.OpenRoots(keys.Dir(c.State), c.Issuer, c.Roots...)
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
