// Package config is boothwire-control's configuration file.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling/mqtt"
)

// Config is the file; example.toml beside main.go explains each field.
type Config struct {
	daemon.Settings
	State         string            `toml:"state"`
	Database      string            `toml:"database"`
	Listen        string            `toml:"listen"`
	URL           string            `toml:"url"`
	Issuer        string            `toml:"issuer"`
	Pool          string            `toml:"pool"`
	Lifetime      daemon.Duration   `toml:"lifetime"`
	Longest       daemon.Duration   `toml:"longest"`
	Idle          daemon.Duration   `toml:"idle"`
	Up            int64             `toml:"up"`
	Down          int64             `toml:"down"`
	RequireReason bool              `toml:"require_reason"`
	RequireTicket bool              `toml:"require_ticket"`
	Exclusive     bool              `toml:"exclusive"`
	Kind          string            `toml:"kind"`
	Renewal       daemon.Duration   `toml:"renewal"`
	Wakes         int               `toml:"wakes"`
	Regions       map[string]string `toml:"regions"`
	BareNodes     []string          `toml:"bare_nodes"`
	STUN          []string          `toml:"stun"`
	Metrics       string            `toml:"metrics"`
	Relays        []Relay           `toml:"relay"`
	TLS           daemon.TLS        `toml:"tls"`
	MQTT          MQTT              `toml:"mqtt"`
	Console       Console           `toml:"console"`

	pool   netip.Prefix
	relays []control.Relay
}

// Relay is one relay; the order is that of preference.
type Relay struct {
	Name string `toml:"name"`
	URL  string `toml:"url"`
	Key  string `toml:"key"`
}

// MQTT is the connection to the broker; without a URL there is none.
type MQTT struct {
	daemon.TLS
	daemon.Login
	URL      string          `toml:"url"`
	ClientID string          `toml:"client_id"`
	Spread   daemon.Duration `toml:"spread"`
	Insecure bool            `toml:"insecure"`
}

// A rate beyond these was meant in another unit: by the least a desktop can be worked
// with at all, and no line of a node is faster than the most.
const (
	slowest = 100_000
	fastest = 100_000_000_000
)

// Validate checks what types cannot say, before anything is opened.
func (c *Config) Validate() error {
	if c.State == "" {
		return daemon.Wrong("state", "a folder for the signing keys and the database is required")
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return daemon.Wrong("listen", "%q is no address such as 0.0.0.0:443", c.Listen)
	}
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "") {
		return daemon.Wrong("url", "%q is no URL such as https://10.0.0.5:443", c.URL)
	}
	if _, _, err := net.SplitHostPort(c.Metrics); err != nil && c.Metrics != "" {
		return daemon.Wrong("metrics", "%q is no address such as 127.0.0.1:9169", c.Metrics)
	}
	if c.Pool != "" {
		p, err := netip.ParsePrefix(c.Pool)
		if err != nil || !p.Addr().Is4() {
			return daemon.Wrong("pool", "%q is no IPv4 prefix such as 10.166.0.0/16", c.Pool)
		}
		c.pool = p
	}
	if err := c.checkLimits(); err != nil {
		return err
	}
	for _, n := range c.BareNodes {
		if !keys.ValidID(n) {
			return daemon.Wrong("bare_nodes", "%q is no node name", n)
		}
	}
	switch c.Kind {
	case "", control.KindNode, control.KindEndToEnd:
	default:
		return daemon.Wrong("kind", "%q is none of node, end_to_end", c.Kind)
	}
	for _, s := range c.STUN {
		if err := control.CheckSTUN(s); err != nil {
			return daemon.Wrong("stun", "%q: %w", s, err)
		}
	}
	if err := c.readRelays(); err != nil {
		return err
	}
	if err := c.TLS.Validate(); err != nil {
		return daemon.In("tls", err)
	}
	if err := errors.Join(c.MQTT.TLS.Validate(), c.MQTT.Login.Validate()); err != nil {
		return daemon.In("mqtt", err)
	}
	if err := c.Console.Validate(); err != nil {
		return daemon.In("console", err)
	}
	if c.MQTT.URL != "" {
		u, err := url.Parse(c.MQTT.URL)
		if err != nil || u.Host == "" {
			return daemon.Wrong("mqtt.url", "%q is no URL such as mqtts://broker.example.com:8883", c.MQTT.URL)
		}
		switch u.Scheme {
		case "mqtt", "mqtts", "ws", "wss":
		default:
			return daemon.Wrong("mqtt.url", "%q is none of mqtts, wss", u.Scheme)
		}
	}
	return nil
}

// checkLimits checks how long and how fast sessions may be.
func (c *Config) checkLimits() error {
	for _, r := range []struct {
		name string
		rate int64
	}{{"up", c.Up}, {"down", c.Down}} {
		if r.rate != 0 && (r.rate < slowest || r.rate > fastest) {
			return daemon.Wrong(r.name, "%d is no rate in bit/s: from %d to %d, or 0 for no limit", r.rate, slowest, fastest)
		}
	}
	longest, lifetime := time.Duration(c.Longest), time.Duration(c.Lifetime)
	switch {
	case longest > control.MostLongest:
		return daemon.Wrong("longest", "%v is too long: at most %v", longest, control.MostLongest)
	case lifetime > cmp.Or(longest, defaultLongest):
		return daemon.Wrong("lifetime", "%v is more than longest, %v, so that no session could be opened that asks for nothing else", lifetime, cmp.Or(longest, defaultLongest))
	}
	return nil
}

// defaultLongest is what control has for longest by itself.
const defaultLongest = 8 * time.Hour

// CheckFiles reads the files that the configuration names.
func (c *Config) CheckFiles() error {
	if err := c.TLS.CheckFiles(); err != nil {
		return daemon.In("tls", err)
	}
	if err := cmp.Or(c.MQTT.TLS.CheckFiles(), c.MQTT.Login.CheckFiles()); err != nil {
		return daemon.In("mqtt", err)
	}
	return c.Console.checkFiles()
}

// readRelays checks each field of each relay by itself, so that the line can be named.
func (c *Config) readRelays() error {
	c.relays = nil
	names := make(map[string]bool)
	for i, r := range c.Relays {
		field := func(name string) string { return fmt.Sprintf("relay[%d].%s", i, name) }
		key, err := keys.ParsePublicKey(r.Key)
		switch {
		case !keys.ValidID(r.Name):
			return daemon.Wrong(field("name"), "%q is no name of letters, digits, '.', '_' and '-'", r.Name)
		case names[r.Name]:
			return daemon.Wrong(field("name"), "another relay is called %q", r.Name)
		case err != nil || key.IsZero():
			return daemon.Wrong(field("key"), "%q is no public key, which the relay prints", r.Key)
		}
		names[r.Name] = true
		relay := control.Relay{Name: r.Name, URL: r.URL, Key: key}
		if err := relay.Check(); err != nil {
			return daemon.Wrong(field("url"), "%q: %w", r.URL, err)
		}
		c.relays = append(c.relays, relay)
	}
	return nil
}

// Reached is where other control processes reach this one: as configured, or at the
// address it listens on, by this host's name where that is any.
func (c *Config) Reached() string {
	if c.URL != "" {
		return c.URL
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		if host, err = os.Hostname(); err != nil {
			return ""
		}
	}
	return "https://" + net.JoinHostPort(host, port)
}

// DSN is where the database is.
func (c *Config) DSN() string {
	if c.Database != "" {
		return c.Database
	}
	// SQLite reads a URI: what ends a path there is part of it here.
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.Join(c.State, "control.db"))
}

// Control is how the back end decides; pin is that of its certificate.
func (c *Config) Control(pin string, log *zap.Logger) *control.Config {
	return &control.Config{
		Store:         keys.Dir(c.State),
		Issuer:        c.Issuer,
		Pool:          c.pool,
		Lifetime:      time.Duration(c.Lifetime),
		Longest:       time.Duration(c.Longest),
		Idle:          time.Duration(c.Idle),
		Up:            keys.Rate(c.Up),
		Down:          keys.Rate(c.Down),
		RequireReason: c.RequireReason,
		RequireTicket: c.RequireTicket,
		Exclusive:     c.Exclusive,
		Kind:          c.Kind,
		Renewal:       time.Duration(c.Renewal),
		Relays:        c.relays,
		STUN:          c.STUN,
		Wakes:         c.Wakes,
		Regions:       c.Regions,
		Bare:          control.BarePolicy{Nodes: c.BareNodes},
		Pin:           pin,
		Logger:        log,
	}
}

// Sender opens the connection to the broker, nil when there is none.
func (c *Config) Sender(log *zap.Logger) (*mqtt.Sender, error) {
	m := &c.MQTT
	if m.URL == "" {
		return nil, nil
	}
	tls, err := m.TLS.Config()
	if err != nil {
		return nil, err
	}
	password, err := m.Secret()
	if err != nil {
		return nil, err
	}
	return mqtt.NewSender(m.URL, &mqtt.Config{
		TLS:      tls,
		Username: m.Username,
		Password: password,
		ClientID: m.ClientID,
		Spread:   time.Duration(m.Spread),
		Insecure: m.Insecure,
		Logger:   log,
	})
}
