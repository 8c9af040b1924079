package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// TLSCertificate makes a self-signed certificate of id for name, for mutual
// TLS between ends that pin each other's identity keys. Its dates are those
// that RFC 5280 section 4.1.2.5 gives to certificates without an end, so that
// no wrong clock refuses it.
func TLSCertificate(id *Identity, name string) (tls.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("keys: certificate: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, id.Public(), id)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("keys: certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("keys: certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: id, Leaf: leaf}, nil
}

// IdentityOf returns the identity key that cert is of. A TLS handshake has
// proved that the peer holds it; whether it is the right one is for the caller
// to compare.
func IdentityOf(cert *x509.Certificate) (IdentityKey, error) {
	if cert == nil {
		return IdentityKey{}, errors.New("keys: no certificate")
	}
	pub, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok || len(pub) != ed25519.PublicKeySize || smallOrder([32]byte(pub)) {
		return IdentityKey{}, errors.New("keys: a certificate without an Ed25519 key")
	}
	return IdentityKey(pub), nil
}
