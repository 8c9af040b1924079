// Package lenienttls verifies a TLS server by chain and name and does not refuse
// it for its dates: a machine whose clock battery is dead wakes up in 1970 or in
// 2099, and must still be reached to be repaired.
//
// What that gives up is small: a certificate that expired was once issued to that
// name by that authority, and revocation is not something that dates do well.
package lenienttls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// maxChain bounds the certificates that a server may present: each adds two times
// at which a chain is tried.
const maxChain = 8

// Config returns a copy of base (nil: the zero Config) for clients that checks
// chain and name itself. A chain that is valid at some time but not at present is
// accepted, and onDate, unless nil, is called with the error of the present check,
// once for each handshake and from the goroutine that makes it; it must not block.
//
// The present is the later of base.Time (the clock, unless set) and the time that
// the program was built at. A caller that knows a later signed time returns it from
// base.Time.
//
// base.ServerName is needed where a server is addressed by IP address, since a
// handshake does not carry one; a handshake without any name is refused.
// base.VerifyConnection runs after the check and sees VerifiedChains, as always;
// base.VerifyPeerCertificate sees none. A base with InsecureSkipVerify set is
// copied and not checked. TLS before 1.2 is refused.
func Config(base *tls.Config, onDate func(error)) *tls.Config {
	cfg := &tls.Config{}
	if base != nil {
		cfg = base.Clone()
	}
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	if cfg.InsecureSkipVerify {
		return cfg
	}
	roots, name, clock, next := cfg.RootCAs, cfg.ServerName, cfg.Time, cfg.VerifyConnection
	if clock == nil {
		clock = time.Now
	}
	cfg.InsecureSkipVerify = true // the check below takes its place
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		host := name
		if host == "" {
			host = cs.ServerName
		}
		chains, dated, err := verify(cs.PeerCertificates, roots, host, later(clock(), Built()))
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
		}
		if dated != nil && onDate != nil {
			onDate(dated)
		}
		if next == nil {
			return nil
		}
		cs.VerifiedChains = chains
		return next(cs)
	}
	return cfg
}

// verify returns the chains of the first time at which there are some, and the
// error of the present if that is not the present.
func verify(certs []*x509.Certificate, roots *x509.CertPool, host string, now time.Time) (_ [][]*x509.Certificate, dated, err error) {
	switch {
	case len(certs) == 0:
		return nil, nil, errors.New("lenienttls: no certificate")
	case len(certs) > maxChain:
		return nil, nil, fmt.Errorf("lenienttls: %d certificates, at most %d are read", len(certs), maxChain)
	case host == "":
		return nil, nil, errors.New("lenienttls: no server name to verify")
	}
	opts := x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now, Intermediates: x509.NewCertPool()}
	for _, c := range certs[1:] {
		opts.Intermediates.AddCert(c)
	}
	leaf := certs[0]
	chains, now1 := leaf.Verify(opts)
	if now1 == nil {
		return chains, nil, nil
	}
	// Validity periods are intervals: if those of a chain overlap at all, they do
	// at the end or the beginning of one of them.
	for _, c := range certs {
		for _, t := range []time.Time{c.NotAfter, c.NotBefore} {
			if t.Before(leaf.NotBefore) || t.After(leaf.NotAfter) {
				continue
			}
			opts.CurrentTime = t
			if chains, err := leaf.Verify(opts); err == nil {
				return chains, now1, nil
			}
		}
	}
	return nil, nil, now1
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Built returns the time of the commit that the program was built from, or zero.
func Built() time.Time { return built() }

var built = sync.OnceValue(func() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			t, _ := time.Parse(time.RFC3339, s.Value)
			return t
		}
	}
	return time.Time{}
})
