package relay

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/internal/sysproxy"
	"github.com/boothwire/boothwire/keys"
)

// Config is what a leg may be told. Its zero value works; nil means the same.
type Config struct {
	// TLS verifies the relay; a certificate is not refused for its dates, because a
	// kiosk's clock may be wrong. Default: the system's authorities.
	TLS *tls.Config
	// Proxy says through which proxy a relay is reached: http and https URLs, with
	// Basic authentication when they name a user. Default: what the environment says
	// (http.ProxyFromEnvironment), else Windows' own settings. The request's context ends
	// with the call, after 6 s at the latest.
	Proxy func(*http.Request) (*url.URL, error)
	// Near, unless nil, makes the connection to a relay in this process, which it knows
	// by its key: relay/server's Dial. It carries a leg without TLS and proxy. For every
	// other relay it returns nil.
	Near   func(ctx context.Context, relay keys.PublicKey) (net.Conn, error)
	Logger *zap.Logger // default silent
}

const (
	dialFor  = 1500 * time.Millisecond // one relay, until it said READY
	dialMost = 6 * time.Second         // the same after failures: dialFor doubles, for a relay that has much to do
	// answerFor is what the last relay of the list gets once it is reached, if those before
	// it are as busy: where a whole fleet has come back, it answers each in turn.
	answerFor = 10 * time.Second
	proxyFor  = 5 * time.Second  // the same through a proxy, which has a name to look up and a call to make
	silence   = 25 * time.Second // after which a leg is asked whether it lives: below what NATs forget TCP after
	dead      = 2*silence + 10*time.Second
)

func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	if d.Proxy == nil {
		d.Proxy = sysproxy.For
	}
	if d.Logger == nil {
		d.Logger = zap.NewNop()
	}
	return d
}
