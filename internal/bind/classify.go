package bind

import (
	"encoding/binary"

	"golang.zx2c4.com/wireguard/device"
)

// A kind is what the first bytes of a datagram say it is.
type kind uint8

const (
	kindOther kind = iota // neither; WireGuard drops it
	kindInitiation
	kindResponse
	kindCookie
	kindTransport
	kindSTUN
)

// RFC 8489, section 5.
const (
	stunHeader = 20
	stunCookie = 0x2112A442
)

// classify tells WireGuard's messages from STUN's. WireGuard's are tested first:
// where STUN has its magic cookie, WireGuard has a receiver index that may have
// any value. No STUN message begins with one of WireGuard's types, because that
// would be method 0, 0x80 or above with length 0, and none of those exist.
func classify(b []byte) kind {
	if len(b) < stunHeader {
		return kindOther
	}
	if t := binary.LittleEndian.Uint32(b); t-1 < device.MessageTransportType {
		return kind(t)
	}
	if b[0]&0xC0 == 0 && binary.BigEndian.Uint32(b[4:]) == stunCookie &&
		b[3]&3 == 0 && int(binary.BigEndian.Uint16(b[2:]))+stunHeader <= len(b) {
		return kindSTUN
	}
	return kindOther
}

// handshakeKind is classify for what a device sends, where only the handshake
// matters: kindInitiation, kindResponse or kindOther.
func handshakeKind(b []byte) kind {
	switch {
	case len(b) == device.MessageInitiationSize && binary.LittleEndian.Uint32(b) == device.MessageInitiationType:
		return kindInitiation
	case len(b) == device.MessageResponseSize && binary.LittleEndian.Uint32(b) == device.MessageResponseType:
		return kindResponse
	}
	return kindOther
}

// The indices that WireGuard's messages carry, which name a handshake or a
// session at one of its ends.

// senderIndex is that of an initiation or a response.
func senderIndex(b []byte) uint32 { return binary.LittleEndian.Uint32(b[4:]) }

// receiverIndex is that of a cookie reply or a transport message.
func receiverIndex(b []byte) uint32 { return binary.LittleEndian.Uint32(b[4:]) }

// responseReceiver is that of a response.
func responseReceiver(b []byte) uint32 { return binary.LittleEndian.Uint32(b[8:]) }
