// Package config is boothwire-agent's configuration file.
package config

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/https"
	"github.com/boothwire/boothwire/signaling/mqtt"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/preflight"
)

// Config is the file; example.toml beside main.go explains each field.
type Config struct {
	daemon.Settings
	Device    string            `toml:"device"`
	State     string            `toml:"state"`
	Issuer    string            `toml:"issuer"`
	Roots     []string          `toml:"roots"`
	Ports     []string          `toml:"ports"`
	Nodes     []string          `toml:"nodes"`
	Longest   daemon.Duration   `toml:"longest"`
	Mode      string            `toml:"mode"`
	Bare      []string          `toml:"bare"`
	Services  map[string]string `toml:"services"`
	HostKey   string            `toml:"ssh_host_key"`
	RDPCert   string            `toml:"rdp_certificate"`
	RDPServer string            `toml:"rdp_server"`
	RelayCA   string            `toml:"relay_ca"`
	Pool      string            `toml:"pool"`
	Metrics   string            `toml:"metrics"`
	Lines     []Line            `toml:"line"`

	ports    []keys.Port
	pool     netip.Prefix
	services map[keys.Port]string
	ssh      [32]byte // of the host key
}

// A Line is one way to control.
type Line struct {
	daemon.TLS
	daemon.Login
	URL       string          `toml:"url"`
	ClientID  string          `toml:"client_id"`
	KeepAlive daemon.Duration `toml:"keepalive"`
	Spread    daemon.Duration `toml:"spread"`
	Insecure  bool            `toml:"insecure"`
}

// Validate checks what types cannot say, before anything is opened.
func (c *Config) Validate() error {
	switch {
	case !keys.ValidID(c.Device):
		return daemon.Wrong("device", "%q is no device id: 1 to 64 of A-Z a-z 0-9 . _ -", c.Device)
	case c.State == "":
		return daemon.Wrong("state", "a folder for this device's identity is required")
	case len(c.Lines) == 0:
		return daemon.Wrong("line", "at least one [[line]] with a url is required")
	case c.Mode != string(tunnel.Auto) && c.Mode != string(tunnel.Adapter) && c.Mode != string(tunnel.Driverless):
		return daemon.Wrong("mode", "%q is neither adapter nor driverless", c.Mode)
	}
	if _, err := netip.ParseAddrPort(c.Metrics); err != nil && c.Metrics != "" {
		return daemon.Wrong("metrics", "%q is no ip:port such as 127.0.0.1:9168", c.Metrics)
	}
	if at, err := netip.ParseAddrPort(c.RDPServer); c.RDPServer != "" && (err != nil || !at.Addr().IsLoopback()) {
		return daemon.Wrong("rdp_server", "%q is no ip:port of this machine's own, such as 127.0.0.1:3389", c.RDPServer)
	}
	if c.RDPServer != "" && c.RDPCert != "" {
		return daemon.Wrong("rdp_certificate", "rdp_server is set too: one of them is enough")
	}
	if c.Pool != "" {
		var err error
		if c.pool, err = netip.ParsePrefix(c.Pool); err != nil {
			return daemon.Wrong("pool", "%q is no network such as 10.166.0.0/16", c.Pool)
		}
	}
	if _, err := keys.ParseRoots(c.Issuer, c.Roots...); err != nil {
		return &daemon.FieldError{Field: "roots", Err: err}
	}
	for _, text := range c.Ports {
		p, err := keys.ParsePort(text)
		if err != nil {
			return &daemon.FieldError{Field: "ports", Err: err}
		}
		c.ports = append(c.ports, p)
	}
	c.services = make(map[keys.Port]string)
	for text, addr := range c.Services {
		p, err := keys.ParsePort(text)
		if err != nil {
			return &daemon.FieldError{Field: "services." + text, Err: err}
		}
		if _, err := netip.ParseAddrPort(addr); err != nil {
			return daemon.Wrong("services."+text, "%q is no ip:port", addr)
		}
		c.services[p] = addr
	}
	for i := range c.Lines {
		if err := c.Lines[i].Validate(); err != nil {
			return daemon.In(fmt.Sprintf("line[%d]", i), err)
		}
	}
	return nil
}

// Validate checks what types cannot say.
func (l *Line) Validate() error {
	if err := errors.Join(l.TLS.Validate(), l.Login.Validate()); err != nil {
		return err
	}
	u, err := url.Parse(l.URL)
	if err != nil || u.Host == "" {
		return daemon.Wrong("url", "%q is no URL", l.URL)
	}
	switch u.Scheme {
	case "mqtt", "mqtts", "ws", "wss", "https":
		return nil
	}
	return daemon.Wrong("url", "%q is none of mqtts, wss, https", u.Scheme)
}

// OpenDevice opens the identity in the state folder, or makes it.
func (c *Config) OpenDevice() (*keys.Device, error) {
	d, err := keys.OpenDevice(c.Device, keys.Dir(c.State), keys.Trust{
		Roots:   c.Roots,
		Issuer:  c.Issuer,
		Ports:   c.ports,
		Nodes:   c.Nodes,
		Longest: time.Duration(c.Longest),
	})
	if err != nil {
		return nil, err
	}
	rdp, err := c.fingerprints()
	if err != nil {
		return nil, err
	}
	d.Fingerprints(c.ssh, rdp)
	return d, nil
}

// fingerprints reads what engineers hold the device's servers against.
func (c *Config) fingerprints() (rdp [32]byte, err error) {
	if c.HostKey != "" {
		if c.ssh, err = fingerprint(c.HostKey); err != nil {
			return rdp, &daemon.FieldError{Field: "ssh_host_key", Err: err}
		}
	}
	if c.RDPCert != "" {
		if rdp, err = certificate(c.RDPCert); err != nil {
			return rdp, &daemon.FieldError{Field: "rdp_certificate", Err: err}
		}
	}
	return rdp, nil
}

// CheckFiles reads the files that the configuration names.
func (c *Config) CheckFiles() error {
	if _, err := c.fingerprints(); err != nil {
		return err
	}
	if _, err := c.Relay(zap.NewNop()); err != nil {
		return err
	}
	for i, l := range c.Lines {
		if err := cmp.Or(l.TLS.CheckFiles(), l.Login.CheckFiles()); err != nil {
			return daemon.In(fmt.Sprintf("line[%d]", i), err)
		}
	}
	return nil
}

// Relay is how relays are dialled.
func (c *Config) Relay(log *zap.Logger) (*relay.Config, error) {
	t, err := daemon.TLS{CA: c.RelayCA}.Config()
	if err != nil {
		return nil, &daemon.FieldError{Field: "relay_ca", Err: err}
	}
	return &relay.Config{TLS: t, Logger: log}, nil
}

// fingerprint is the SHA-256 of an OpenSSH public key file: "ssh-ed25519 AAAA... comment".
func fingerprint(file string) (sum [32]byte, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return sum, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 || !strings.Contains(fields[0], "-") {
		return sum, fmt.Errorf("%s is no OpenSSH public key", file)
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil {
		return sum, fmt.Errorf("%s is no OpenSSH public key", file)
	}
	return sha256.Sum256(blob), nil
}

// certificate is the SHA-256 of the certificate in a file, PEM or DER.
func certificate(file string) (sum [32]byte, err error) {
	der, err := os.ReadFile(file)
	if err != nil {
		return sum, err
	}
	if block, _ := pem.Decode(der); block != nil && block.Type == "CERTIFICATE" {
		der = block.Bytes
	}
	// Windows has made some whose serial number Go will not read, so what is inside is
	// not looked at beyond that it is one value of DER.
	var raw asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &raw); err != nil || len(rest) > 0 || raw.Tag != asn1.TagSequence {
		return sum, fmt.Errorf("%s is no certificate", file)
	}
	return sha256.Sum256(der), nil
}

// Tunnel is the mode of tunnels.
func (c *Config) Tunnel() tunnel.Mode { return tunnel.Mode(c.Mode) }

// Forwards is where a driverless device forwards its granted ports to, nil for
// the defaults.
func (c *Config) Forwards() map[keys.Port]string {
	if len(c.services) == 0 {
		return nil
	}
	return c.services
}

// TunnelPool has the deployment's tunnels; zero: the default.
func (c *Config) TunnelPool() netip.Prefix { return c.pool }

// Preflight is what this host is to be good for.
func (c *Config) Preflight() *preflight.Config {
	return &preflight.Config{Ports: c.ports, Services: c.services, Mode: c.Mode, Pool: c.pool}
}

// Line opens the lines, in order, behind one.
func (c *Config) Line(device *keys.Device, log *zap.Logger) (signaling.Listener, error) {
	var lines []signaling.Listener
	for _, l := range c.Lines {
		line, err := l.open(device, log)
		if err != nil {
			return nil, fmt.Errorf("line %s: %w", l.URL, err)
		}
		lines = append(lines, line)
	}
	if len(lines) == 1 {
		return lines[0], nil
	}
	return signaling.Fallback(keys.Dir(c.State), lines...), nil
}

func (l *Line) open(device *keys.Device, log *zap.Logger) (signaling.Listener, error) {
	cfg, err := l.TLS.Config()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(l.URL, "https:") {
		return https.NewListener(device, l.URL, &https.Config{TLS: cfg, Spread: time.Duration(l.Spread), Logger: log})
	}
	return l.mqtt(device, cfg, log)
}

func (l *Line) mqtt(device *keys.Device, cfg *tls.Config, log *zap.Logger) (signaling.Listener, error) {
	password, err := l.Secret()
	if err != nil {
		return nil, err
	}
	return mqtt.NewListener(device, l.URL, &mqtt.Config{
		TLS:       cfg,
		Username:  l.Username,
		Password:  password,
		ClientID:  l.ClientID,
		KeepAlive: time.Duration(l.KeepAlive),
		Spread:    time.Duration(l.Spread),
		Insecure:  l.Insecure,
		Logger:    log,
	})
}
