package keys

import (
	"encoding/base64"
	"errors"
)

// PublicKey is a WireGuard (X25519) public key. Its text is 44 characters of
// standard base64, as WireGuard's tools write it; that of the zero key is "".
type PublicKey [32]byte

// ParsePublicKey reads what String writes; a zero key is refused.
func ParsePublicKey(s string) (PublicKey, error) {
	b, err := parse32(s)
	if err != nil || b == [32]byte{} {
		return PublicKey{}, errors.New("keys: a public key is 44 characters of base64 and not zero")
	}
	return b, nil
}

// String returns the text of k.
func (k PublicKey) String() string { return text32(k) }

// IsZero reports whether k is no key.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// MarshalText implements encoding.TextMarshaler.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; "" is the zero key.
func (k *PublicKey) UnmarshalText(text []byte) (err error) {
	if *k = (PublicKey{}); len(text) > 0 {
		*k, err = ParsePublicKey(string(text))
	}
	return err
}

// IdentityKey is the Ed25519 public key (RFC 8032) of a device, node, signer
// or root. Its text is like that of a PublicKey.
type IdentityKey [32]byte

// ParseIdentityKey reads what String writes. Keys of small order, under which
// anyone can sign, are refused.
func ParseIdentityKey(s string) (IdentityKey, error) {
	b, err := parse32(s)
	if err != nil || smallOrder(b) {
		return IdentityKey{}, errors.New("keys: an identity key is 44 characters of base64 and not of small order")
	}
	return b, nil
}

// String returns the text of k.
func (k IdentityKey) String() string { return text32(k) }

// IsZero reports whether k is no key.
func (k IdentityKey) IsZero() bool { return k == IdentityKey{} }

// MarshalText implements encoding.TextMarshaler.
func (k IdentityKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; "" is the zero key.
func (k *IdentityKey) UnmarshalText(text []byte) (err error) {
	if *k = (IdentityKey{}); len(text) > 0 {
		*k, err = ParseIdentityKey(string(text))
	}
	return err
}

func text32(b [32]byte) string {
	if b == [32]byte{} {
		return ""
	}
	return base64.StdEncoding.EncodeToString(b[:])
}

// parse32 is strict: one text for each key, so that texts can be compared.
func parse32(s string) (b [32]byte, err error) {
	if len(s) != 44 {
		return b, errors.New("keys: wrong length")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != 32 {
		return b, errors.New("keys: not base64")
	}
	return [32]byte(raw), nil
}

// smallOrder reports whether b encodes a point whose order divides 8. The y
// coordinates of those points, and their encodings beyond the field's prime,
// are seven; the sign bit does not matter.
func smallOrder(b [32]byte) bool {
	b[31] &= 0x7f
	switch b {
	case [32]byte{},
		[32]byte{1},
		[32]byte{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
			0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
		[32]byte{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
			0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a}:
		return true
	}
	for _, c := range b[1:31] {
		if c != 0xff {
			return false
		}
	}
	return b[31] == 0x7f && b[0] >= 0xec && b[0] <= 0xee
}
