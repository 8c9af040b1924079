package stun

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
)

// Types of messages: a method and a class (RFC 8489, section 5).
const (
	BindingRequest uint16 = 0x0001
	BindingSuccess uint16 = 0x0101
	BindingError   uint16 = 0x0111
)

// Of RFC 8489, sections 5 and 14.7.
const (
	headerSize     = 20
	magicCookie    = 0x2112A442
	fingerprintXOR = 0x5354554E
)

// MaxSize is the largest message that is read, in bytes: RFC 8489, section 6.1,
// wants messages to fit the path's MTU.
const MaxSize = 1500

// Reasons that a datagram is refused.
var (
	ErrNotSTUN     = errors.New("stun: not a message of STUN")
	ErrMalformed   = errors.New("stun: malformed message")
	ErrFingerprint = errors.New("stun: wrong fingerprint")
)

// ID is a transaction's.
type ID [12]byte

// A Message is what Parse has checked. It refers to the datagram.
type Message struct {
	Type  uint16
	ID    ID
	attrs []byte
}

// Parse takes a datagram for one message. Its length must be the message's, its
// attributes must fit one after the other, and a FINGERPRINT must be right and
// the last of them.
func Parse(b []byte) (Message, error) {
	if len(b) < headerSize || b[0]&0xC0 != 0 || binary.BigEndian.Uint32(b[4:]) != magicCookie {
		return Message{}, ErrNotSTUN
	}
	if len(b) > MaxSize || len(b)%4 != 0 || int(binary.BigEndian.Uint16(b[2:])) != len(b)-headerSize {
		return Message{}, ErrMalformed
	}
	m := Message{Type: binary.BigEndian.Uint16(b), ID: ID(b[8:headerSize]), attrs: b[headerSize:]}
	for rest := m.attrs; len(rest) > 0; {
		a, value, next, ok := cut(rest)
		if !ok {
			return Message{}, ErrMalformed
		}
		if a == Fingerprint {
			if len(value) != 4 || len(next) != 0 {
				return Message{}, ErrMalformed
			}
			if binary.BigEndian.Uint32(value) != fingerprint(b[:len(b)-len(rest)]) {
				return Message{}, ErrFingerprint
			}
		}
		rest = next
	}
	return m, nil
}

// cut takes the first attribute off, with its padding.
func cut(b []byte) (a Attr, value, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	padded := (n + 3) &^ 3
	if len(b)-4 < padded {
		return 0, nil, nil, false
	}
	return Attr(binary.BigEndian.Uint16(b)), b[4 : 4+n], b[4+padded:], true
}

// All yields the attributes in their order, without those that must be ignored
// because they come after MESSAGE-INTEGRITY (RFC 8489, sections 14.5 and 14.6).
func (m Message) All() iter.Seq2[Attr, []byte] {
	return func(yield func(Attr, []byte) bool) {
		var sealed Attr
		for rest := m.attrs; len(rest) > 0; {
			a, value, next, ok := cut(rest)
			if !ok {
				return
			}
			rest = next
			if sealed != 0 && a != Fingerprint && !(sealed == MessageIntegrity && a == MessageIntegritySHA256) {
				continue
			}
			if a == MessageIntegrity || a == MessageIntegritySHA256 {
				sealed = a
			}
			if !yield(a, value) {
				return
			}
		}
	}
}

// Get returns the first attribute of its kind; later ones do not count (RFC 8489,
// section 14).
func (m Message) Get(want Attr) (value []byte, ok bool) {
	for a, value := range m.All() {
		if a == want {
			return value, true
		}
	}
	return nil, false
}

// fingerprint is of all that comes before the attribute, with the length in the
// header that counts the attribute.
func fingerprint(b []byte) uint32 { return crc32.ChecksumIEEE(b) ^ fingerprintXOR }
