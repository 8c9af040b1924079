package nat

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// An end is one of the two roles of RFC 8445, section 2.3.
type end string

const (
	controlling end = "controlling"
	controlled  end = "controlled"
)

func (e end) far() end {
	if e == controlling {
		return controlled
	}
	return controlling
}

// secretLeast is 128 bits, what RFC 8445 asks of a password.
const secretLeast = 16

// keys are what one end of one generation is known by. They never travel, but
// for the fragment that names it in STUN.
type keys struct {
	generation uint64
	ufrag, pwd string // of its ICE agent
	aead       cipher.AEAD
}

// derive returns the keys of an end.
func derive(secret []byte, generation uint64, e end) (*keys, error) {
	info := append([]byte("boothwire nat 1 "+string(e)+" "), binary.BigEndian.AppendUint64(nil, generation)...)
	out, err := hkdf.Key(sha256.New, secret, nil, string(info), 12+24+32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(out[36:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &keys{
		generation: generation,
		ufrag:      base64.RawStdEncoding.EncodeToString(out[:12]),
		pwd:        base64.RawStdEncoding.EncodeToString(out[12:36]),
		aead:       aead,
	}, nil
}
