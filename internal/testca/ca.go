// Package testca is a certificate authority for one test: its certificates and
// keys are files in the test's folder and gone with it.
package testca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A CA signs with one ECDSA P-256 key.
type CA struct {
	File string // PEM of the authority

	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
}

// New makes an authority whose files live in dir.
func New(t testing.TB, dir string) *CA {
	t.Helper()
	c := &CA{t: t, dir: dir, File: filepath.Join(dir, "ca.pem")}
	c.cert, c.key = c.issue(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "boothwire test authority"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, nil, nil)
	c.write("ca.pem", "CERTIFICATE", c.cert.Raw)
	return c
}

// Pool holds the authority alone.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// Server makes a certificate for the given names and IP addresses, and returns
// its files. Changes edits it before it is signed, such as its dates.
func (c *CA) Server(name string, hosts []string, changes ...func(*x509.Certificate)) (cert, key string) {
	c.t.Helper()
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return c.leaf(name, t, changes)
}

// Client makes a certificate whose common name is the client's.
func (c *CA) Client(name string, changes ...func(*x509.Certificate)) (cert, key string) {
	c.t.Helper()
	return c.leaf(name, &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, changes)
}

// Pair loads what Server or Client returned.
func (c *CA) Pair(cert, key string) tls.Certificate {
	c.t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		c.t.Fatal(err)
	}
	return pair
}

func (c *CA) leaf(name string, t *x509.Certificate, changes []func(*x509.Certificate)) (cert, key string) {
	t.KeyUsage = x509.KeyUsageDigitalSignature
	for _, change := range changes {
		change(t)
	}
	leaf, private := c.issue(t, c.cert, c.key)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.write(name+".pem", "CERTIFICATE", leaf.Raw), c.write(name+".key", "PRIVATE KEY", der)
}

func (c *CA) issue(t, parent *x509.Certificate, by crypto.Signer) (*x509.Certificate, crypto.Signer) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	if parent == nil {
		parent, by = t, key
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		c.t.Fatal(err)
	}
	if t.NotAfter.IsZero() {
		t.NotBefore, t.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), by)
	if err != nil {
		c.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert, key
}

// write lets other users read: Mosquitto gives up root before it reads.
func (c *CA) write(name, kind string, der []byte) string {
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644); err != nil {
		c.t.Fatal(err)
	}
	return path
}
