// Package relayd is what boothwire-relay and a node with a relay in its process
// share: the relay's part of a configuration file, its key and its figures.
package relayd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay/server"
)

// Config is the relay's part of a file: all of boothwire-relay's top level has it, and
// boothwire-gateway's table [relay]. The example of each explains the fields.
type Config struct {
	Name      string          `toml:"name"`
	Listen    string          `toml:"listen"`
	Rate      int64           `toml:"rate"`
	RateTotal int64           `toml:"rate_total"`
	Legs      int             `toml:"legs"`
	Open      int             `toml:"open"`
	PerIP     int             `toml:"per_ip"`
	Waiting   int             `toml:"waiting"`
	Lone      int             `toml:"lone"`
	LonePerIP int             `toml:"lone_per_ip"`
	Drain     daemon.Duration `toml:"drain"`
	TLS       daemon.TLS      `toml:"tls"`
}

// Validate checks what types cannot say, before anything is opened.
func (c *Config) Validate() error {
	switch {
	case !keys.ValidID(c.Name):
		return daemon.Wrong("name", "%q is no relay name: 1 to 64 of A-Z a-z 0-9 . _ -", c.Name)
	case !isAddress(c.Listen):
		return daemon.Wrong("listen", "%q is no address such as 0.0.0.0:443", c.Listen)
	case c.Rate < 0:
		return daemon.Wrong("rate", "%d is below zero", c.Rate)
	case c.RateTotal < 0:
		return daemon.Wrong("rate_total", "%d is below zero", c.RateTotal)
	case c.RateTotal > 0 && c.Rate > c.RateTotal:
		return daemon.Wrong("rate_total", "%d is below rate, %d", c.RateTotal, c.Rate)
	case c.Legs < 0:
		return daemon.Wrong("legs", "%d is below zero", c.Legs)
	case c.Open < 0:
		return daemon.Wrong("open", "%d is below zero", c.Open)
	case c.PerIP < 0:
		return daemon.Wrong("per_ip", "%d is below zero", c.PerIP)
	case c.Waiting < 0:
		return daemon.Wrong("waiting", "%d is below zero", c.Waiting)
	case c.Lone < 0:
		return daemon.Wrong("lone", "%d is below zero", c.Lone)
	case c.LonePerIP < 0:
		return daemon.Wrong("lone_per_ip", "%d is below zero", c.LonePerIP)
	case c.TLS.Cert == "":
		return daemon.Wrong("tls.cert", "a certificate that kiosks can verify is required")
	}
	return daemon.In("tls", c.TLS.Validate())
}

// CheckFiles reads the certificate and its key.
func (c *Config) CheckFiles() error { return daemon.In("tls", c.TLS.CheckFiles()) }

func isAddress(addr string) bool {
	_, _, err := net.SplitHostPort(addr)
	return err == nil
}

// ValidateMetrics checks the address of the metrics, in the field metrics.
func ValidateMetrics(addr string) error {
	if addr != "" && !isAddress(addr) {
		return daemon.Wrong("metrics", "%q is no address such as 127.0.0.1:9166", addr)
	}
	return nil
}

const keyName = "relay-key"

// OpenKey opens the relay's key in a state folder, or makes it.
func OpenKey(store keys.Store) (keys.PrivateKey, error) {
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

// Server is how the relay runs.
func (c *Config) Server(log *zap.Logger) (*server.Config, error) {
	t, err := c.TLS.Config()
	if err != nil {
		return nil, daemon.In("tls", err)
	}
	return &server.Config{
		TLS: t, Drain: time.Duration(c.Drain), Legs: c.Legs, Open: c.Open, PerIP: c.PerIP, Waiting: c.Waiting,
		Lone: c.Lone, LonePerIP: c.LonePerIP, Rate: keys.Rate(c.Rate), RateTotal: keys.Rate(c.RateTotal), Logger: log,
	}, nil
}
