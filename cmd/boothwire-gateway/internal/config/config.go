// Package config is boothwire-gateway's configuration file.
package config

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/cmd/internal/relayd"
	"github.com/boothwire/boothwire/cmd/internal/stun"
	"github.com/boothwire/boothwire/gateway"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
)

// Config is the file; example.toml beside main.go explains each field.
type Config struct {
	daemon.Settings
	daemon.TLS
	Name      string   `toml:"name"`
	State     string   `toml:"state"`
	Journal   string   `toml:"journal"`
	Control   string   `toml:"control"`
	Claim     string   `toml:"claim"`
	Plane     string   `toml:"plane"`
	Listen    int      `toml:"listen"`
	Endpoints []string `toml:"endpoints"`
	Operators []string `toml:"operator_endpoints"`
	Uplink    int64    `toml:"uplink"`
	MTU       int      `toml:"mtu"`
	Region    string   `toml:"region"`
	Capacity  int      `toml:"capacity"`
	STUN      []string `toml:"stun"`
	Metrics   string   `toml:"metrics"`
	// Relay is the one that the node carries in its process; nil: none. Its name is
	// the node's unless it has another.
	Relay *relayd.Config `toml:"relay"`

	endpoints []netip.AddrPort
	operators []netip.AddrPort
}

// Validate checks what types cannot say, before anything is opened.
func (c *Config) Validate() error {
	u, err := url.Parse(c.Control)
	switch {
	case !keys.ValidID(c.Name):
		return daemon.Wrong("name", "%q is no node name: 1 to 64 of A-Z a-z 0-9 . _ -", c.Name)
	case c.State == "":
		return daemon.Wrong("state", "a folder for this node's keys is required")
	case err != nil || u.Scheme != "https" || u.Host == "":
		return daemon.Wrong("control", "%q is no https:// URL", c.Control)
	case c.Listen < 0 || c.Listen > 65535:
		return daemon.Wrong("listen", "%d is no UDP port", c.Listen)
	case len(c.Region) > 64:
		return daemon.Wrong("region", "at most 64 letters")
	case c.Capacity < 0:
		return daemon.Wrong("capacity", "%d is no number of sessions", c.Capacity)
	}
	if err := c.TLS.Validate(); err != nil {
		return err
	}
	switch gateway.Plane(c.Plane) {
	case gateway.Auto, gateway.Userspace, gateway.Kernel:
	default:
		return daemon.Wrong("plane", "%q is neither userspace nor kernel", c.Plane)
	}
	for _, list := range []struct {
		name string
		from []string
		to   *[]netip.AddrPort
	}{{"endpoints", c.Endpoints, &c.endpoints}, {"operator_endpoints", c.Operators, &c.operators}} {
		for _, text := range list.from {
			e, err := netip.ParseAddrPort(text)
			if err != nil {
				return daemon.Wrong(list.name, "%q is no ip:port", text)
			}
			*list.to = append(*list.to, e)
		}
	}
	if c.Uplink < 0 {
		return daemon.Wrong("uplink", "%d is no rate in bit/s", c.Uplink)
	}
	if err := stun.Validate(c.STUN); err != nil {
		return err
	}
	if err := relayd.ValidateMetrics(c.Metrics); err != nil {
		return err
	}
	if c.Relay == nil {
		return nil
	}
	if c.Relay.Name == "" {
		c.Relay.Name = c.Name
	}
	return daemon.In("relay", c.Relay.Validate())
}

// CheckFiles reads the files that the configuration names.
func (c *Config) CheckFiles() error {
	if err := c.TLS.CheckFiles(); err != nil || c.Relay == nil {
		return err
	}
	return daemon.In("relay", c.Relay.CheckFiles())
}

// RelayKey opens the relay's key in the state folder, or makes it.
func (c *Config) RelayKey() (keys.PrivateKey, error) {
	if c.Relay == nil {
		return keys.PrivateKey{}, errors.New("the configuration has no [relay]")
	}
	return relayd.OpenKey(keys.Dir(c.State))
}

// Client speaks to control with the configured authorities.
func (c *Config) Client() (*http.Client, error) {
	cfg, err := c.TLS.Config()
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = cfg
	return &http.Client{Transport: t}, nil
}

// Enrolment is what the node says of itself the first time.
func (c *Config) Enrolment(client *http.Client, log *zap.Logger) *gateway.EnrollConfig {
	return &gateway.EnrollConfig{
		Claim:     c.Claim,
		Name:      c.Name,
		Endpoints: c.endpoints,
		Version:   daemon.Version(),
		HTTP:      client,
		Logger:    log,
	}
}

// journal is the file in which the node remembers its sessions.
func (c *Config) journal() string {
	if c.Journal == "" {
		return filepath.Join(c.State, "journal")
	}
	return c.Journal
}

// A Near is relay.Config's.
type Near func(ctx context.Context, relay keys.PublicKey) (net.Conn, error)

// Node is how the node runs. It knows relays by the same authorities as control, but
// for the one that is near; nil: none is.
func (c *Config) Node(store keys.Store, near Near, log *zap.Logger) (*gateway.Config, error) {
	authorities, err := c.TLS.Config()
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, relays []keys.Relay, key keys.PrivateKey) (net.Conn, error) {
		return relay.Dial(ctx, relays, key, &relay.Config{TLS: authorities, Near: near, Logger: log})
	}
	return &gateway.Config{
		Store:     store,
		Journal:   c.journal(),
		Plane:     gateway.Plane(c.Plane),
		Listen:    uint16(c.Listen),
		Endpoints: c.endpoints,

		OperatorEndpoints: c.operators,
		Uplink:            keys.Rate(c.Uplink),

		MTU:      c.MTU,
		Region:   c.Region,
		Capacity: c.Capacity,
		Relay:    dial,
		Version:  daemon.Version(),
		Logger:   log,
	}, nil
}
