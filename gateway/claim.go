package gateway

import (
	"encoding/base64"
	"errors"
	"strings"
)

// claim is what lets a node enrol once: a secret of control's, and the pin of
// control's certificate.
//
//	bwn1.<base64url of 16 random bytes>.<base64url of SHA-256 over the leaf's SPKI, or nothing>
type claim struct {
	text string
	pin  string
}

const claimPrefix = "bwn1."

// errClaim holds no part of the claim: it is a secret.
var errClaim = errors.New("gateway: a claim is written bwn1.SECRET.PIN")

func parseClaim(text string) (claim, error) {
	rest, ok := strings.CutPrefix(text, claimPrefix)
	secret, pin, dot := strings.Cut(rest, ".")
	if !ok || !dot || !isBase64(secret, 16) || pin != "" && !isBase64(pin, 32) {
		return claim{}, errClaim
	}
	return claim{text: text, pin: pin}, nil
}

func isBase64(s string, size int) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == size
}
