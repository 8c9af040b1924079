package mqtt

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/boothwire/boothwire/internal/sysproxy"
	"github.com/boothwire/boothwire/signaling"
	"go.uber.org/zap"
)

// Config is how a Listener or a Sender connects. Its zero value works; it is
// copied on entry.
type Config struct {
	// TLS holds roots and client certificates, and the server's name if it is not
	// the URL's host. Certificates whose dates lie outside the present only warn;
	// TLS.Time may return a later present than the clock's, such as the last time
	// that came signed.
	TLS *tls.Config
	// Insecure permits mqtt and ws to other hosts than this one, without TLS.
	Insecure bool

	// Username and Password go into the CONNECT packet.
	Username, Password string
	// ClientID is unique at the broker. Default: "boothwire-" and the device's id,
	// which differs from what the host application's own connection is likely to
	// use; "boothwire-control-" and random letters for a Sender.
	ClientID string

	// KeepAlive is how long the line is silent before it is probed, in whole
	// seconds; a dead one is noticed after twice that. Default 45 s.
	KeepAlive time.Duration
	// Spread is the span over which the first retry after a lost connection falls,
	// so that a fleet does not come back at once. Default 60 s; negative: none, for
	// a single device.
	Spread time.Duration

	// Proxy returns the proxy for a request, as in [http.Transport]: http, https
	// (CONNECT, Basic authentication) or socks5. A request for mqtts or wss has the
	// scheme https. Default: what the environment says
	// ([http.ProxyFromEnvironment]), else Windows' own settings.
	Proxy func(*http.Request) (*url.URL, error)

	// Shared is the group of a Sender's shared subscription: each status goes to
	// one Sender of the group, and retained ones to none. Default: no group, each
	// Sender gets every status.
	Shared string

	// Observe is told warnings (NoticeWarning): "certificate_dates", "taken_over",
	// "short_lived", "not_authorised", "broker_protocol". It must not block.
	Observe func(signaling.Notice)
	// Logger gets the same and the state of the line. Default: silent.
	Logger *zap.Logger
}

// NoticeWarning is the Kind of every Notice of this package.
const NoticeWarning = "warning"

const (
	defaultKeepAlive = 45 * time.Second
	defaultSpread    = 60 * time.Second

	commandExpiry = 60  // seconds: a command that waited longer is re-sent by control if it still counts
	sessionExpiry = 300 // seconds: spans a reconnect; longer only hoards stale commands
	willDelay     = 90  // seconds: past Spread, so that a blip does not announce a device as offline

	// receiveMaximum bounds what the broker has in flight, and the channel that
	// the client library allocates: 9.5 KiB of heap a client instead of 521.
	receiveMaximum = 16
	// maxPacket is told to the broker and enforced by us: the client library
	// allocates whatever a fixed header announces, up to 256 MiB.
	maxPacket = 2 << 20

	// A broker that ten thousand devices greet at once is slow: whoever hangs up
	// on it early makes it finish handshakes for nothing.
	dialTimeout   = 30 * time.Second // TCP, proxy, TLS and WebSocket together
	packetTimeout = 30 * time.Second // CONNACK, SUBACK, PUBACK
)

func (c *Config) withDefaults() (Config, error) {
	var cfg Config
	if c != nil {
		cfg = *c
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = defaultKeepAlive
	}
	if cfg.KeepAlive < time.Second || cfg.KeepAlive > math.MaxUint16*time.Second {
		return cfg, fmt.Errorf("mqtt: keepalive of %v is not between 1 s and 65535 s", cfg.KeepAlive)
	}
	if cfg.Spread == 0 {
		cfg.Spread = defaultSpread
	}
	if cfg.Proxy == nil {
		cfg.Proxy = sysproxy.For
	}
	if cfg.Observe == nil {
		cfg.Observe = func(signaling.Notice) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if len(cfg.ClientID) > math.MaxUint16 || len(cfg.Username) > math.MaxUint16 || len(cfg.Password) > math.MaxUint16 {
		return cfg, errors.New("mqtt: client id, user name or password is longer than 65535 bytes")
	}
	return cfg, nil
}
