package keys

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/boothwire/boothwire/internal/strictjson"
)

// MaxToken is the longest token that is read or signed, in bytes. It is the
// limit of a command, which carries one.
const MaxToken = 8 << 10

// algorithm is the only one (RFC 9864 section 2.2).
const algorithm = "Ed25519"

// b64 is base64url without padding (RFC 7515 section 2); strict, so that no
// two texts decode to the same bytes.
var b64 = base64.RawURLEncoding.Strict()

// header is a JOSE header; doc.go says which kind has which fields.
type header struct {
	Alg  string   `json:"alg"`
	Typ  string   `json:"typ"`
	Kid  string   `json:"kid"`
	Iss  string   `json:"iss,omitempty"`
	Rec  string   `json:"rec,omitempty"`
	Sub  string   `json:"sub,omitempty"`
	Boot string   `json:"boot,omitempty"`
	Seq  uint64   `json:"seq,omitempty"`
	Crit []string `json:"crit,omitempty"`
}

// jws is a token taken apart; nothing in it is verified.
type jws struct {
	header
	payload []byte
	signed  []byte // what the signature is over
	sig     []byte
}

// sign makes a token.
func sign(id *Identity, h header, payload []byte) ([]byte, error) {
	h.Alg = algorithm
	head, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("keys: sign: %w", err)
	}
	if err := strictjson.Check(payload); err != nil {
		return nil, refuseJSON(err)
	}
	t := make([]byte, 0, b64.EncodedLen(len(head))+b64.EncodedLen(len(payload))+2+b64.EncodedLen(ed25519.SignatureSize))
	t = append(b64.AppendEncode(t, head), '.')
	t = b64.AppendEncode(t, payload)
	sig := id.sign(t)
	t = b64.AppendEncode(append(t, '.'), sig)
	if len(t) > MaxToken {
		return nil, refuse(ReasonOversized, "%d bytes, at most %d", len(t), MaxToken)
	}
	return t, nil
}

// parse takes a token of the given kind apart.
func parse(typ string, token []byte) (*jws, error) {
	t, err := split(token)
	if err != nil {
		return nil, err
	}
	switch {
	case t.Alg == "" || strings.EqualFold(t.Alg, "none") || len(t.sig) == 0:
		return nil, refuse(ReasonUnsigned, "no signature")
	case t.Alg != algorithm:
		return nil, refuse(ReasonUnsupported, "an algorithm other than %s", algorithm)
	case t.Typ != typ:
		return nil, refuse(ReasonWrongKind, "not a %s", typ)
	case len(t.Crit) > 0:
		return nil, refuse(ReasonUnknownCrit, "in the header")
	case len(t.sig) != ed25519.SignatureSize:
		return nil, refuse(ReasonMalformed, "a signature of %d bytes", len(t.sig))
	}
	if err := strictjson.Check(t.payload); err != nil {
		return nil, refuseJSON(err)
	}
	return t, nil
}

// split decodes the three parts of a token and its header.
func split(token []byte) (*jws, error) {
	if len(token) > MaxToken {
		return nil, refuse(ReasonOversized, "%d bytes, at most %d", len(token), MaxToken)
	}
	parts := bytes.Split(token, []byte{'.'})
	if len(parts) == 2 {
		parts = append(parts, nil)
	}
	if len(parts) != 3 {
		return nil, refuse(ReasonMalformed, "not three parts")
	}
	var raw [3][]byte
	for i, p := range parts {
		var err error
		// Go's decoder skips line ends, which would give one token many texts.
		if bytes.ContainsAny(p, "\r\n") {
			return nil, refuse(ReasonMalformed, "a line end in a token")
		}
		if raw[i], err = b64.AppendDecode(nil, p); err != nil {
			return nil, refuse(ReasonMalformed, "not base64url")
		}
	}
	t := &jws{payload: raw[1], signed: token[:len(parts[0])+1+len(parts[1])], sig: raw[2]}
	if err := strictjson.Unmarshal(raw[0], &t.header); err != nil {
		return nil, refuseJSON(err)
	}
	known := json.NewDecoder(bytes.NewReader(raw[0]))
	known.DisallowUnknownFields()
	if known.Decode(new(header)) != nil {
		return nil, refuse(ReasonMalformed, "an unknown field in the header")
	}
	if t.Crit != nil && len(t.Crit) == 0 {
		return nil, refuse(ReasonMalformed, "an empty crit")
	}
	return t, nil
}

// by verifies the signature under key.
func (t *jws) by(key IdentityKey) error {
	if smallOrder(key) || !ed25519.Verify(key[:], t.signed, t.sig) {
		return refuse(ReasonForged, "the signature does not match")
	}
	return nil
}

// decode reads a payload that parse has let through.
func decode(payload []byte, v any) error {
	if err := strictjson.Unmarshal(payload, v); err != nil {
		return refuseJSON(err)
	}
	return nil
}

// encode is json.Marshal for values that cannot fail.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("keys: " + err.Error())
	}
	return b
}
