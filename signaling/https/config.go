package https

import (
	"crypto/tls"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// Config is for both ends; nil means the defaults. It is copied on entry.
type Config struct {
	// Client makes the listener's requests; its Timeout and CheckRedirect are replaced, its
	// transport is the caller's matter. Default: HTTP/1.1 over TLS 1.2 or later, proxies from the
	// environment.
	Client *http.Client

	// TLS is what the default Client's connections start from. Unused with Client.
	TLS *tls.Config

	// Poll is how long one poll of the listener waits for a command, give or take a tenth;
	// at most 80 s. Default 50 s.
	Poll time.Duration

	// Spread is the window in which the listener's first attempt after a lost connection
	// falls, so that a fleet does not come back at once; 3 s at most when this machine's
	// addresses changed. Negative: at once. Default 60 s.
	Spread time.Duration

	// Logger is silent if nil.
	Logger *zap.Logger
}

func (cfg *Config) withDefaults() Config {
	var c Config
	if cfg != nil {
		c = *cfg
	}
	if c.Poll <= 0 {
		c.Poll = 50 * time.Second
	}
	c.Poll = min(max(c.Poll, time.Second), 80*time.Second)
	switch {
	case c.Spread == 0:
		c.Spread = 60 * time.Second
	case c.Spread < 0:
		c.Spread = 0
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}
