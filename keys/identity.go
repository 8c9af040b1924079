package keys

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Identity is an Ed25519 key pair that signs for a device, node, online signer
// or root. It is a crypto.Signer, for TLS for one, and cannot print its
// private half. It is safe for concurrent use.
type Identity struct {
	load func() ed25519.PrivateKey
	key  IdentityKey
}

var _ crypto.Signer = (*Identity)(nil)

// OpenIdentity loads the identity of that name from store and makes it when
// there is none. It is stored as PEM of PKCS #8 (RFC 8410). One that cannot be
// read is an error and is never replaced: a device that got a new identity
// unasked would have to be registered again.
func OpenIdentity(store Store, name string) (*Identity, error) {
	data, err := store.Load(name)
	if errors.Is(err, fs.ErrNotExist) {
		if data, err = makeIdentity(); err == nil {
			if err = store.Save(name, data); err == nil {
				// What is stored counts, should another process have been quicker.
				data, err = store.Load(name)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("keys: identity %s: %w", name, err)
	}
	id, err := parseIdentity(data)
	if err != nil {
		return nil, fmt.Errorf("keys: identity %s: %w", name, err)
	}
	return id, nil
}

func makeIdentity() ([]byte, error) {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func parseIdentity(data []byte) (*Identity, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("no PEM of a private key")
	}
	priv, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("no PKCS #8")
	}
	k, ok := priv.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("no Ed25519 key")
	}
	return &Identity{load: func() ed25519.PrivateKey { return k }, key: IdentityKey(k.Public().(ed25519.PublicKey))}, nil
}

// Key returns the public half.
func (id *Identity) Key() IdentityKey { return id.key }

// Public implements crypto.Signer; it returns an ed25519.PublicKey.
func (id *Identity) Public() crypto.PublicKey { return ed25519.PublicKey(id.key[:]) }

// Sign implements crypto.Signer: message is signed as it is, opts.HashFunc
// must be 0.
func (id *Identity) Sign(rand io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return id.load().Sign(rand, message, opts)
}

func (id *Identity) sign(message []byte) []byte { return ed25519.Sign(id.load(), message) }
