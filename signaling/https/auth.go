package https

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	scheme       = "Boothwire-Ed25519"
	signedPrefix = "boothwire-https-v1"

	headerNonce   = "Boothwire-Nonce"
	headerEpoch   = "Boothwire-Epoch"
	headerCommand = "Boothwire-Command"
)

// A base64url alphabet without padding whose spare bits must be zero: one text for one value.
var encoding = base64.RawURLEncoding.Strict()

var errCredentials = errors.New("https: malformed credentials")

// credentials are what an Authorization header says.
type credentials struct {
	nonce     string
	signature [ed25519.SignatureSize]byte
}

// parseCredentials reads one Authorization header. It accepts exactly what
// credentials.String writes, the scheme in any case (RFC 9110, section 11.1).
func parseCredentials(header string) (credentials, error) {
	var c credentials
	name, rest, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(name, scheme) {
		return c, errCredentials
	}
	nonce, signature, ok := strings.Cut(rest, ".")
	if !ok || len(nonce) != nonceText || len(signature) != encoding.EncodedLen(len(c.signature)) {
		return c, errCredentials
	}
	// The decoder skips line ends, which no header of ours holds.
	if strings.ContainsAny(rest, "\r\n") {
		return c, errCredentials
	}
	if _, err := encoding.Decode(c.signature[:], []byte(signature)); err != nil {
		return c, errCredentials
	}
	c.nonce = nonce
	return c, nil
}

// String is the header's value.
func (c credentials) String() string {
	return scheme + " " + c.nonce + "." + encoding.EncodeToString(c.signature[:])
}

// signedText is what the device signs. No field can hold a newline: the device id and the
// nonce have alphabets of their own, net/http refuses one in a method or a path.
func signedText(device, nonce, method, target string, body []byte) []byte {
	sum := sha256.Sum256(body)
	var b bytes.Buffer
	for _, field := range []string{signedPrefix, device, nonce, method, target} {
		b.WriteString(field)
		b.WriteByte('\n')
	}
	b.WriteString(hex.EncodeToString(sum[:]))
	return b.Bytes()
}

// sign makes the Authorization header of one request.
func sign(key crypto.Signer, device, nonce, method, target string, body []byte) (string, error) {
	signature, err := key.Sign(nil, signedText(device, nonce, method, target, body), crypto.Hash(0))
	if err != nil {
		return "", fmt.Errorf("https: sign request: %w", err)
	}
	c := credentials{nonce: nonce}
	if copy(c.signature[:], signature) != len(c.signature) || len(signature) != len(c.signature) {
		return "", errors.New("https: sign request: not an Ed25519 signature")
	}
	return c.String(), nil
}
