package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// TLS names the files of one end of a TLS connection; zero means the system's
// authorities and no certificate of one's own.
type TLS struct {
	CA   string `toml:"ca"`   // PEM: authorities of the far end
	Cert string `toml:"cert"` // PEM
	Key  string `toml:"key"`  // PEM
}

// Validate refuses half a pair.
func (t TLS) Validate() error {
	if (t.Cert == "") != (t.Key == "") {
		return Wrong("cert", "cert and key go together")
	}
	return nil
}

// CheckFiles reads the files.
func (t TLS) CheckFiles() error {
	_, err := t.Config()
	return err
}

// Config reads the files.
func (t TLS) Config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, &FieldError{"ca", err}
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, Wrong("ca", "%s holds no PEM certificate", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, Wrong("cert", "cert and key go together")
	}
	if t.Cert != "" {
		if _, err := os.ReadFile(t.Key); err != nil {
			return nil, &FieldError{"key", err}
		}
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, &FieldError{"cert", fmt.Errorf("load the certificate: %w", err)}
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
