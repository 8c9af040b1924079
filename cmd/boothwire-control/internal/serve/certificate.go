package serve

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/boothwire/boothwire/cmd/boothwire-control/internal/config"
	"github.com/boothwire/boothwire/internal/daemon"
	"github.com/boothwire/boothwire/keys"
)

// certificate loads the configured certificate, or the self-signed one of the
// state folder, which it makes the first time. The pin is set for the latter:
// nodes can then know control without an authority.
func certificate(cfg *config.Config) (tls.Certificate, string, error) {
	if cfg.TLS.Cert != "" {
		c, err := cfg.TLS.Config()
		if err != nil {
			return tls.Certificate{}, "", err
		}
		return c.Certificates[0], "", nil
	}
	pair, err := selfSigned(cfg, filepath.Join(cfg.State, "tls.pem"), keys.Dir(cfg.State))
	if err != nil {
		return tls.Certificate{}, "", fmt.Errorf("certificate: %w", err)
	}
	return pair, daemon.Pin(pair), nil
}

func selfSigned(cfg *config.Config, file string, store keys.Store) (tls.Certificate, error) {
	key, err := store.Load("tls-key")
	var cert []byte
	switch {
	case err == nil:
		cert, err = os.ReadFile(file)
	case errors.Is(err, fs.ErrNotExist):
		if cert, key, err = daemon.SelfSigned("boothwire-control", 20, names(cfg.Listen)...); err != nil {
			return tls.Certificate{}, err
		}
		if err = os.WriteFile(file, cert, 0o644); err == nil {
			err = store.Save("tls-key", key)
		}
	}
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// names are what this machine is likely to be called by.
func names(listen string) []string {
	var all []string
	if name, err := os.Hostname(); err == nil {
		all = append(all, name)
	}
	if host, _, err := net.SplitHostPort(listen); err == nil {
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
			all = append(all, host)
		}
	}
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				all = append(all, n.IP.String())
			}
		}
	}
	return all
}
