package keys

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"sync"
)

// PrivateKey is a WireGuard (X25519) private key that cannot print itself: its
// bytes sit behind a function, where no formatting verb, encoder or logger
// finds them, and == does not compile. Copies share one array, so that Erase
// erases all of them. The zero PrivateKey is no key. It is safe for concurrent
// use.
type PrivateKey struct{ load func() *secret }

// secret is the one place where the bytes of a private key are.
type secret struct {
	mu sync.RWMutex
	b  [32]byte
}

// hide wraps b in a PrivateKey and clears it.
func hide(b *[32]byte) PrivateKey {
	s := &secret{b: *b}
	clear(b[:])
	return PrivateKey{func() *secret { return s }}
}

// NewPrivateKey makes a random key, clamped as RFC 7748 section 5 says.
func NewPrivateKey() PrivateKey {
	var b [32]byte
	rand.Read(b[:])
	b[0] &= 248
	b[31] = b[31]&127 | 64
	return hide(&b)
}

// ParsePrivateKey reads the 44 characters of base64 that wg genkey writes.
func ParsePrivateKey(s string) (PrivateKey, error) {
	b, err := parse32(s)
	if err != nil {
		return PrivateKey{}, errors.New("keys: a private key is 44 characters of base64")
	}
	return hide(&b), nil
}

// with calls f with the bytes, which f must not keep.
func (k PrivateKey) with(f func(*[32]byte)) {
	if k.load == nil {
		f(new([32]byte))
		return
	}
	s := k.load()
	s.mu.RLock()
	defer s.mu.RUnlock()
	f(&s.b)
}

// Public returns the public key, the zero PublicKey when k is zero or erased.
func (k PrivateKey) Public() (pub PublicKey) {
	k.with(func(b *[32]byte) {
		if *b == [32]byte{} {
			return
		}
		if priv, err := ecdh.X25519().NewPrivateKey(b[:]); err == nil {
			pub = PublicKey(priv.PublicKey().Bytes())
		}
	})
	return pub
}

// Equal reports in constant time whether k and other hold the same bytes.
func (k PrivateKey) Equal(other PrivateKey) bool {
	var a, b [32]byte
	k.with(func(p *[32]byte) { a = *p })
	other.with(func(p *[32]byte) { b = *p })
	same := subtle.ConstantTimeCompare(a[:], b[:]) == 1
	clear(a[:])
	clear(b[:])
	return same
}

// IsZero reports whether k is the zero PrivateKey or was erased.
func (k PrivateKey) IsZero() bool { return k.Equal(PrivateKey{}) }

// Expose returns the key in the text form that WireGuard's tools read. It is
// the only way to see it. Of a zero or erased key it is 32 zero bytes.
func (k PrivateKey) Expose() (s string) {
	k.with(func(b *[32]byte) { s = base64.StdEncoding.EncodeToString(b[:]) })
	return s
}

// Erase overwrites the key, in every copy of it, with zeros.
func (k PrivateKey) Erase() {
	if k.load == nil {
		return
	}
	s := k.load()
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.b[:])
}

// shared is X25519 of k and peer (RFC 7748 section 6.1), an error when k is
// zero or peer is a point of low order.
func (k PrivateKey) shared(peer PublicKey) (out []byte, err error) {
	pub, err := ecdh.X25519().NewPublicKey(peer[:])
	if err != nil {
		return nil, err
	}
	k.with(func(b *[32]byte) {
		if *b == [32]byte{} {
			err = errors.New("keys: no private key")
			return
		}
		var priv *ecdh.PrivateKey
		if priv, err = ecdh.X25519().NewPrivateKey(b[:]); err == nil {
			out, err = priv.ECDH(pub)
		}
	})
	return out, err
}
