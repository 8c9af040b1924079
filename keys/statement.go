package keys

import (
	"encoding/base64"
	"slices"
)

// Statement is what a device signed: a status, reply, request, answer or
// batch.
type Statement struct {
	Typ     string
	Device  string
	Boot    string // the run of the device that signed
	Seq     uint64 // rises with each statement of that run, from 1
	Payload []byte // a JSON object, read strictly
}

// VerifyStatement checks that token is of kind typ, of that deployment
// (empty: DefaultIssuer) and device, and signed by key. Whether Boot and Seq
// are newer than what was seen is left to the caller. Errors are *GrantError.
func VerifyStatement(typ string, token []byte, issuer, device string, key IdentityKey) (*Statement, error) {
	t, err := parse(typ, token)
	if err != nil {
		return nil, err
	}
	if issuer == "" {
		issuer = DefaultIssuer
	}
	switch {
	case t.Rec != "" || t.Seq == 0 || !ValidID(t.Boot):
		return nil, refuse(ReasonMalformed, "not a device's header")
	case t.Iss != issuer:
		return nil, refuse(ReasonWrongIssuer, "of another deployment")
	case t.Sub != device:
		return nil, refuse(ReasonWrongDevice, "of another device")
	case t.Kid != key.String() || key.IsZero():
		return nil, refuse(ReasonUnknownSigner, "by another key")
	}
	if err := t.by(key); err != nil {
		return nil, err
	}
	return &Statement{Typ: typ, Device: device, Boot: t.Boot, Seq: t.Seq, Payload: t.payload}, nil
}

// StatementKey reads from a statement's header who it claims to be by. Nothing
// is verified: it is for showing a foreign key to a person.
func StatementKey(token []byte) (device string, key IdentityKey, err error) {
	t, err := split(token)
	if err != nil {
		return "", IdentityKey{}, err
	}
	key, err = ParseIdentityKey(t.Kid)
	if err != nil || !ValidID(t.Sub) {
		return "", IdentityKey{}, refuse(ReasonMalformed, "not a device's header")
	}
	return t.Sub, key, nil
}

// Batch is a device's offer of one-time keys.
type Batch struct {
	Device, Boot string
	Seq          uint64
	N            int         // rises within a boot
	Keys         []PublicKey // each good for one session
	SSH, RDP     [32]byte    // SHA-256 of its SSH host key and RDP certificate; zero: unknown
}

// VerifyPrekeys is VerifyStatement for a batch, and reads it.
func VerifyPrekeys(batch []byte, issuer, device string, key IdentityKey) (*Batch, error) {
	s, err := VerifyStatement(TypePrekeys, batch, issuer, device, key)
	if err != nil {
		return nil, err
	}
	var w batchWire
	if err := decode(s.Payload, &w); err != nil {
		return nil, err
	}
	if w.Boot != s.Boot || w.N < 1 || len(w.Keys) == 0 || len(w.Keys) > 16 || slices.Contains(w.Keys, PublicKey{}) {
		return nil, refuse(ReasonMalformed, "not a batch")
	}
	b := &Batch{Device: device, Boot: s.Boot, Seq: s.Seq, N: w.N, Keys: w.Keys}
	for _, h := range []struct {
		text string
		to   *[32]byte
	}{{w.SSH, &b.SSH}, {w.RDP, &b.RDP}} {
		if h.text == "" {
			continue
		}
		raw, err := base64.RawURLEncoding.Strict().DecodeString(h.text)
		if err != nil || len(raw) != 32 {
			return nil, refuse(ReasonMalformed, "not the hash of a host key")
		}
		*h.to = [32]byte(raw)
	}
	return b, nil
}
