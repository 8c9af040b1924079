package keys

import (
	"crypto/hkdf"
	"crypto/sha256"
	"math"
	"slices"
	"time"
)

// MaxTokenRelays is how many relays a Token can name.
const MaxTokenRelays = 8

// Token is control's permission for one end of a session to wait at a relay for
// the other one. It is all that a relay knows of the session. On the wire End is
// Unix seconds.
type Token struct {
	Session string       `json:"session"`
	Rev     int          `json:"rev"`            // of the session's grant
	Ends    [2]PublicKey `json:"ends"`           // who may meet
	Leg     int          `json:"leg"`            // the holder is Ends[Leg]
	Relays  []string     `json:"relays"`         // names of those that may carry it
	Rate    Rate         `json:"rate,omitempty"` // bit/s in each direction
	End     time.Time    `json:"-"`              // by the relay's clock
}

type tokenFields Token

type tokenWire struct {
	tokenFields
	End int64 `json:"end"`
}

func (w *tokenWire) check() error {
	bad := func(what string) error { return refuse(ReasonMalformed, "a relay's token %s", what) }
	wrong := func(name string) bool { return !ValidID(name) }
	switch {
	case !ValidID(w.Session):
		return bad("without a session")
	case w.Rev < 1:
		return bad("without a revision")
	case w.Ends[0].IsZero() || w.Ends[1].IsZero() || w.Ends[0] == w.Ends[1]:
		return bad("without two keys")
	case w.Leg != 0 && w.Leg != 1:
		return bad("of neither end")
	case len(w.Relays) == 0 || len(w.Relays) > MaxTokenRelays || slices.ContainsFunc(w.Relays, wrong):
		return bad("without relays")
	case w.Rate < 0 || w.End < 1 || w.End > math.MaxInt64/int64(time.Second):
		return bad("with a number out of range")
	}
	return nil
}

// Sign makes the token's JWS. Errors are *GrantError.
func (t *Token) Sign(s *Signer) ([]byte, error) {
	w := tokenWire{tokenFields: tokenFields(*t), End: t.End.Unix()}
	if err := w.check(); err != nil {
		return nil, err
	}
	return s.Sign(TypeRelay, encode(&w))
}

// VerifyToken is Verify for a relay's token, and reads it. Whether it names the
// caller and is still in force is left to ForRelay. Errors are *GrantError.
func (r *Roots) VerifyToken(token []byte) (*Token, error) {
	payload, err := r.Verify(TypeRelay, token)
	if err != nil {
		return nil, err
	}
	var w tokenWire
	if err := decode(payload, &w); err != nil {
		return nil, err
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	t := Token(w.tokenFields)
	t.End = time.Unix(w.End, 0).UTC()
	return &t, nil
}

// ForRelay checks what is a relay's to check: that t names it, and that t's end is
// after now. Errors are *GrantError.
func (t *Token) ForRelay(name string, now time.Time) error {
	switch {
	case !slices.Contains(t.Relays, name):
		return refuse(ReasonWrongRelay, "for another relay")
	case !now.Before(t.End):
		return refuse(ReasonExpired, "past its end")
	}
	return nil
}

// RelaySecret returns 32 bytes that only the holder of a leg's key and the relay
// can know: HKDF-SHA256 (RFC 5869) of the X25519 of k and peer, the other's public
// key. With it the holder proves to the relay that the key is his. It fails for a
// zero key and for a peer of low order (RFC 7748 section 6.1).
func (k PrivateKey) RelaySecret(peer PublicKey) ([]byte, error) {
	shared, err := k.shared(peer)
	if err != nil {
		return nil, refuse(ReasonMalformed, "%w", err)
	}
	defer clear(shared)
	return hkdf.Key(sha256.New, shared, nil, "boothwire relay proof 1", sha256.Size)
}
