package stun

import (
	"encoding/binary"
	"net/netip"
)

// FingerprintSize is what FINGERPRINT takes in a message, in bytes.
const FingerprintSize = 8

// AddressSize is what an attribute that holds addr takes.
func AddressSize(addr netip.AddrPort) int { return 8 + len(addr.Addr().Unmap().AsSlice()) }

// New begins a message of no attributes.
func New(typ uint16, id ID) []byte {
	b := make([]byte, headerSize, 128)
	binary.BigEndian.PutUint16(b, typ)
	binary.BigEndian.PutUint32(b[4:], magicCookie)
	copy(b[8:], id[:])
	return b
}

// Add appends an attribute to a message that New began.
func Add(b []byte, a Attr, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(a))
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-headerSize))
	return b
}

// AddUint32 appends an attribute of four bytes.
func AddUint32(b []byte, a Attr, n uint32) []byte {
	return Add(b, a, binary.BigEndian.AppendUint32(nil, n))
}

// AddAddress appends an attribute like MAPPED-ADDRESS.
func AddAddress(b []byte, a Attr, addr netip.AddrPort) []byte {
	return addAddress(b, a, addr, [16]byte{})
}

// AddXORAddress appends an attribute like XOR-MAPPED-ADDRESS.
func AddXORAddress(b []byte, a Attr, addr netip.AddrPort) []byte {
	return addAddress(b, a, addr, maskOf(ID(b[8:headerSize])))
}

func addAddress(b []byte, a Attr, addr netip.AddrPort, mask [16]byte) []byte {
	ip := addr.Addr().Unmap()
	var value [20]byte
	value[1] = 2
	if ip.Is4() {
		value[1] = 1
	}
	binary.BigEndian.PutUint16(value[2:], addr.Port())
	n := 4 + copy(value[4:], ip.AsSlice())
	value[2] ^= mask[0]
	value[3] ^= mask[1]
	for i := range value[4:n] {
		value[4+i] ^= mask[i]
	}
	return Add(b, a, value[:n])
}

// AddError appends ERROR-CODE, without a phrase, which keeps the answer small.
func AddError(b []byte, code int) []byte {
	return Add(b, ErrorCode, []byte{0, 0, byte(code / 100), byte(code % 100)})
}

// AddUnknown appends UNKNOWN-ATTRIBUTES.
func AddUnknown(b []byte, list []Attr) []byte {
	value := make([]byte, 0, 2*len(list))
	for _, a := range list {
		value = binary.BigEndian.AppendUint16(value, uint16(a))
	}
	return Add(b, UnknownAttributes, value)
}

// AddFingerprint appends FINGERPRINT, which ends the message.
func AddFingerprint(b []byte) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+FingerprintSize-headerSize))
	return AddUint32(b, Fingerprint, fingerprint(b))
}
