package packet

import "encoding/binary"

// Sum adds the bytes of b to sum as big-endian 16-bit words, in one's complement
// (RFC 1071); an odd last byte counts as the high half of a word, so only the
// last of several parts may be odd.
func Sum(b []byte, sum uint32) uint32 {
	s := uint64(sum)
	for len(b) >= 4 {
		s += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint32(s)
}

// Checksum is the Internet checksum (RFC 1071) of b, started from sum. Over data
// that holds its own right checksum it is zero.
func Checksum(b []byte, sum uint32) uint16 {
	return ^uint16(Sum(b, sum))
}

// Hop takes one from the hop limit of the packet in b and mends the IPv4 header
// checksum (RFC 1624). It reports false, and b is untouched, when the limit would
// reach zero: such a packet must be dropped.
func Hop(b []byte) bool {
	if b[0]>>4 == 6 {
		if b[7] <= 1 {
			return false
		}
		b[7]--
		return true
	}
	if b[8] <= 1 {
		return false
	}
	// The limit is the high half of its word, so the sum falls by 0x0100 and
	// the checksum, its complement, rises by as much.
	b[8]--
	sum := uint32(binary.BigEndian.Uint16(b[10:])) + 0x0100
	binary.BigEndian.PutUint16(b[10:], uint16(sum+sum>>16))
	return true
}
