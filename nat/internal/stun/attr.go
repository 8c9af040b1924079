package stun

import (
	"encoding/binary"
	"net/netip"
)

// Attr is an attribute's type.
type Attr uint16

// Of RFC 8489, section 18.3, and RFC 5780, section 9.
const (
	MappedAddress          Attr = 0x0001
	ChangeRequest          Attr = 0x0003
	Username               Attr = 0x0006
	MessageIntegrity       Attr = 0x0008
	ErrorCode              Attr = 0x0009
	UnknownAttributes      Attr = 0x000A
	Realm                  Attr = 0x0014
	Nonce                  Attr = 0x0015
	MessageIntegritySHA256 Attr = 0x001C
	PasswordAlgorithm      Attr = 0x001D
	Userhash               Attr = 0x001E
	XORMappedAddress       Attr = 0x0020
	Padding                Attr = 0x0026
	ResponsePort           Attr = 0x0027
	Software               Attr = 0x8022
	Fingerprint            Attr = 0x8028
	ResponseOrigin         Attr = 0x802B
	OtherAddress           Attr = 0x802C
)

// Required reports whether who does not know the attribute must not go on.
func (a Attr) Required() bool { return a < 0x8000 }

// Flags of CHANGE-REQUEST (RFC 5780, section 7.2).
const (
	ChangeIP   uint32 = 0x4
	ChangePort uint32 = 0x2
)

// Uint32 reads an attribute of four bytes.
func Uint32(value []byte) (n uint32, ok bool) {
	if len(value) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(value), true
}

// Address reads an attribute like MAPPED-ADDRESS.
func (m Message) Address(a Attr) (netip.AddrPort, bool) {
	value, _ := m.Get(a)
	return address(value, nil)
}

// XORAddress reads an attribute like XOR-MAPPED-ADDRESS.
func (m Message) XORAddress(a Attr) (netip.AddrPort, bool) {
	value, _ := m.Get(a)
	mask := m.mask()
	return address(value, mask[:])
}

// Mapped returns where the request came from, as the answer tells it: in
// XOR-MAPPED-ADDRESS, or in MAPPED-ADDRESS of a server that is older.
func (m Message) Mapped() (netip.AddrPort, bool) {
	if _, ok := m.Get(XORMappedAddress); ok {
		return m.XORAddress(XORMappedAddress)
	}
	return m.Address(MappedAddress)
}

// Code returns what ERROR-CODE holds, 300 to 699.
func (m Message) Code() (code int, ok bool) {
	value, ok := m.Get(ErrorCode)
	if !ok || len(value) < 4 {
		return 0, false
	}
	class, number := int(value[2]&7), int(value[3])
	if class < 3 || class > 6 || number > 99 {
		return 0, false
	}
	return class*100 + number, true
}

// mask is what addresses are xored with: the cookie and the transaction's ID.
func (m Message) mask() (mask [16]byte) { return maskOf(m.ID) }

func maskOf(id ID) (mask [16]byte) {
	binary.BigEndian.PutUint32(mask[:], magicCookie)
	copy(mask[4:], id[:])
	return mask
}

// address reads family, port and address, of somebody who can be sent to.
func address(value, mask []byte) (netip.AddrPort, bool) {
	if !(len(value) == 8 && value[1] == 1) && !(len(value) == 20 && value[1] == 2) {
		return netip.AddrPort{}, false
	}
	var plain [20]byte
	b := plain[:copy(plain[:], value)]
	if mask != nil {
		b[2] ^= mask[0]
		b[3] ^= mask[1]
		for i := range b[4:] {
			b[4+i] ^= mask[i]
		}
	}
	ip, _ := netip.AddrFromSlice(b[4:])
	port := binary.BigEndian.Uint16(b[2:])
	if port == 0 || ip.Is4In6() || ip.IsUnspecified() || ip.IsMulticast() {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip, port), true
}
