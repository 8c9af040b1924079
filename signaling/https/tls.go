package https

import (
	"crypto/tls"
	"net/netip"

	"github.com/boothwire/boothwire/internal/lenienttls"
	"go.uber.org/zap"
)

// clientTLS checks the server's chain and name; its dates, which a machine without a clock
// cannot judge, only make a line in the log. Sessions are resumed, for a status beside a
// parked poll takes a connection of its own.
func clientTLS(server string, cfg *Config) *tls.Config {
	base := &tls.Config{}
	if cfg.TLS != nil {
		base = cfg.TLS.Clone()
	}
	// An address is not sent as a server's name, so it is not known to who verifies.
	if _, err := netip.ParseAddr(server); err == nil && base.ServerName == "" {
		base.ServerName = server
	}
	if base.ClientSessionCache == nil {
		base.ClientSessionCache = tls.NewLRUClientSessionCache(2)
	}
	return lenienttls.Config(base, func(err error) {
		cfg.Logger.Warn("the server's certificate or this clock is out of date", zap.Error(err))
	})
}
