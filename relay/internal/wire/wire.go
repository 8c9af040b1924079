// Package wire is the relay's frames and the proof of a leg's key, as package
// relay's doc describes them.
package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

const (
	Path        = "/relay"
	Protocol    = "boothwire-relay/1" // the Upgrade
	Subprotocol = "boothwire-relay.1" // of a WebSocket
	TokenHeader = "Boothwire-Token"
	NonceHeader = "Boothwire-Nonce"

	Header     = 2        // bytes before a frame's body
	MaxPacket  = 16 << 10 // bytes of a packet
	MaxControl = 4 << 10  // bytes of a control frame's body, its type among them
	MaxFrame   = Header + MaxPacket
	MaxCode    = 64 // bytes of a BYE's code
	NonceSize  = 32
	EchoSize   = 8
	ProofSize  = 8 + sha256.Size

	Control = 0x8000 // the bit of the length that a control frame has
)

// A Type is what a control frame says; Packet is no control frame.
type Type byte

// A client sends the first five, a server the others, and each an ECHO.
const (
	Packet    Type = 0
	Proof     Type = 1 // generation u64, MAC: the first frame
	Token     Type = 2 // a later token
	Ping      Type = 3 // 8 bytes, which the PONG repeats
	Echo      Type = 4 // 8 bytes for the other leg, which answers
	EchoReply Type = 5 // with the same
	Ready     Type = 16
	Peer      Type = 17 // u8: the other leg is there
	Pong      Type = 18
	Drain     Type = 19 // u32: milliseconds until the server closes
	Bye       Type = 20 // code
)

// ErrFrame is what is no frame.
var ErrFrame = errors.New("relay: a frame of no valid length")

// AppendPacket appends the frame of a packet of 1 to MaxPacket bytes.
func AppendPacket(dst, packet []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(packet)))
	return append(dst, packet...)
}

// AppendControl appends a control frame; its body has less than MaxControl bytes.
func AppendControl(dst []byte, t Type, body ...byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, Control|uint16(1+len(body)))
	return append(append(dst, byte(t)), body...)
}

// Next takes the first frame of b: its type, its body within b, and how many bytes
// it has in all; n is 0 while it is not whole.
func Next(b []byte) (t Type, body []byte, n int, err error) {
	if len(b) < Header {
		return 0, nil, 0, nil
	}
	size := int(binary.BigEndian.Uint16(b))
	isControl := size&Control != 0
	size &^= Control
	if size == 0 || isControl && size > MaxControl || !isControl && size > MaxPacket {
		return 0, nil, 0, ErrFrame
	}
	if len(b) < Header+size {
		return 0, nil, 0, nil
	}
	body, n = b[Header:Header+size], Header+size
	if !isControl {
		return Packet, body, n, nil
	}
	if body[0] == byte(Packet) {
		return 0, nil, 0, ErrFrame
	}
	return Type(body[0]), body[1:], n, nil
}

// MAC proves that the holder of a leg's token has its key: secret is
// keys.PrivateKey.RelaySecret of the leg's key and the relay's, nonce the server's.
func MAC(secret, nonce, token []byte, leg int, generation uint64) []byte {
	sum := sha256.Sum256(token)
	m := hmac.New(sha256.New, secret)
	m.Write(nonce)
	m.Write(sum[:])
	m.Write([]byte{byte(leg)})
	m.Write(binary.BigEndian.AppendUint64(nil, generation))
	return m.Sum(nil)
}

// AppendProof appends the frame that must come first.
func AppendProof(dst, mac []byte, generation uint64) []byte {
	return AppendControl(dst, Proof, append(binary.BigEndian.AppendUint64(nil, generation), mac...)...)
}

// ReadProof takes a PROOF's body apart.
func ReadProof(body []byte) (generation uint64, mac []byte, ok bool) {
	if len(body) != ProofSize {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(body), body[8:], true
}

// ValidCode reports whether b may be a BYE's code.
func ValidCode(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= MaxCode
}
