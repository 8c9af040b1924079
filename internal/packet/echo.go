package packet

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// AppendEcho appends one whole ICMP (or ICMPv6) echo request from src to dst to
// b and returns the longer slice. The packet is size bytes long with its IP
// header; a size too small for the headers and the data grows to fit, the rest
// is zero padding behind data. IPv4 packets have Don't Fragment set, because the
// size of a proof is what it measures. src and dst are of one family, else b is
// returned as it was; so it is when the packet would pass 65,535 bytes.
func AppendEcho(b []byte, src, dst netip.Addr, id, seq uint16, data []byte, size int) []byte {
	src, dst = src.Unmap(), dst.Unmap()
	if !src.IsValid() || !dst.IsValid() || src.Is4() != dst.Is4() {
		return b
	}
	header := IPv4Header
	if src.Is6() {
		header = IPv6Header
	}
	size = max(size, header+ICMPHeader+len(data))
	if size > 65535 {
		return b
	}
	start := len(b)
	b = slices.Grow(b, size)[:start+size]
	ip := b[start:]
	clear(ip)
	icmp := ip[header:]
	if src.Is4() {
		ip[0] = 0x45
		binary.BigEndian.PutUint16(ip[2:], uint16(size))
		binary.BigEndian.PutUint16(ip[4:], seq)
		ip[6] = 0x40 // don't fragment
		ip[8] = 64
		ip[9] = ICMP
		s, d := src.As4(), dst.As4()
		copy(ip[12:], s[:])
		copy(ip[16:], d[:])
		binary.BigEndian.PutUint16(ip[10:], Checksum(ip[:header], 0))
		icmp[0] = EchoRequest
	} else {
		ip[0] = 0x60
		binary.BigEndian.PutUint16(ip[4:], uint16(size-header))
		ip[6] = ICMPv6
		ip[7] = 64
		s, d := src.As16(), dst.As16()
		copy(ip[8:], s[:])
		copy(ip[24:], d[:])
		icmp[0] = EchoRequestV6
	}
	binary.BigEndian.PutUint16(icmp[4:], id)
	binary.BigEndian.PutUint16(icmp[6:], seq)
	copy(icmp[ICMPHeader:], data)
	binary.BigEndian.PutUint16(icmp[2:], transportSum(ip, header, icmp))
	return b
}

// EchoData returns the bytes behind the ICMP header of the echo that p was
// parsed from b, padding included. It shares b's memory.
func EchoData(b []byte, p *Info) []byte {
	return b[p.HeaderLen+ICMPHeader : p.TotalLen]
}

// Reply turns the echo request in b, which p was parsed from, into its reply in
// place: addresses swapped, type changed, hop limit set to 64, checksums
// rewritten. It reports false, and b is untouched, when p is no echo request or
// has IPv4 options.
func Reply(b []byte, p *Info) bool {
	if !p.IsEchoRequest() || p.TotalLen > len(b) {
		return false
	}
	ip := b[:p.TotalLen]
	icmp := ip[p.HeaderLen:]
	if p.Version == 4 {
		if p.HeaderLen != IPv4Header {
			return false
		}
		var src [4]byte
		copy(src[:], ip[12:16])
		copy(ip[12:16], ip[16:20])
		copy(ip[16:20], src[:])
		ip[8] = 64
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], Checksum(ip[:IPv4Header], 0))
		icmp[0] = EchoReply
	} else {
		var src [16]byte
		copy(src[:], ip[8:24])
		copy(ip[8:24], ip[24:40])
		copy(ip[24:40], src[:])
		ip[7] = 64
		icmp[0] = EchoReplyV6
	}
	icmp[2], icmp[3] = 0, 0
	binary.BigEndian.PutUint16(icmp[2:], transportSum(ip, p.HeaderLen, icmp))
	return true
}

// EchoValid reports whether the ICMP checksum of the echo in b, which p was
// parsed from, is right.
func EchoValid(b []byte, p *Info) bool {
	if !p.IsEchoRequest() && !p.IsEchoReply() || p.TotalLen > len(b) {
		return false
	}
	ip := b[:p.TotalLen]
	return transportSum(ip, p.HeaderLen, ip[p.HeaderLen:]) == 0
}

// transportSum is the checksum of an ICMP message; ICMPv6 counts a pseudo header
// (RFC 8200, section 8.1), ICMP none.
func transportSum(ip []byte, header int, icmp []byte) uint16 {
	if ip[0]>>4 == 4 {
		return Checksum(icmp, 0)
	}
	pseudo := Sum(ip[8:40], uint32(len(icmp))+ICMPv6)
	return Checksum(icmp, pseudo)
}
