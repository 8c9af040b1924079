package login

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
)

// A seal keeps what is kept of a login from whoever reads the database: its key is made
// of the browser's secret, of which the database has a hash.
type seal struct {
	aead cipher.AEAD
	of   string // the login
}

func newSeal(secret, id string) (*seal, error) {
	k, err := hkdf.Key(sha256.New, []byte(secret), nil, "boothwire console login", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &seal{aead, id}, err
}

func (s *seal) close(text string) string {
	if text == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, []byte(text), []byte(s.of)))
}

// open returns what was sealed; nothing, if it was not by this.
func (s *seal) open(text string) string {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	plain, err := s.aead.Open(nil, nil, b, []byte(s.of))
	if err != nil {
		return ""
	}
	return string(plain)
}

// recognise is when the browser of l shows its secret: what is sealed by it can be
// opened then. It reports whether something was.
func (l *Login) recognise(secret string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unseal(secret)
}

// unseal is recognise; mu is held.
func (l *Login) unseal(secret string) bool {
	if l.seal != nil || l.sealed == "" && l.who.Refresh == "" {
		return false
	}
	var err error
	if l.seal, err = newSeal(secret, l.ID); err != nil {
		return false
	}
	if l.who.Refresh == "" {
		l.who.Refresh = l.seal.open(l.sealed)
	} else {
		l.sealed = l.seal.close(l.who.Refresh)
	}
	return l.who.Refresh != ""
}
