package packet

import (
	"encoding/binary"
	"net/netip"
)

// Protocol numbers of the IP header (IANA).
const (
	ICMP   = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
)

// Header sizes in bytes, without options.
const (
	IPv4Header = 20
	IPv6Header = 40
	TCPHeader  = 20
	UDPHeader  = 8
	ICMPHeader = 8
)

// TCP flags as Info.TCPFlags holds them (RFC 9293, section 3.1).
const (
	FIN = 1 << 0
	SYN = 1 << 1
	RST = 1 << 2
	PSH = 1 << 3
	ACK = 1 << 4
	URG = 1 << 5
)

// ICMP types that Info.ICMPType can hold; those of ICMPv6 differ.
const (
	EchoReply     = 0
	Unreachable   = 3
	EchoRequest   = 8
	EchoRequestV6 = 128
	EchoReplyV6   = 129
)

// Info is what a filter asks of one packet. Ports are zero unless Proto is TCP
// or UDP, TCPFlags unless it is TCP, ICMPType, ICMPCode, ID and Seq unless it is
// ICMP or ICMPv6; all of them are zero when Fragment is set.
type Info struct {
	Version    uint8 // 4 or 6
	Proto      uint8 // of the payload: TCP, UDP, ICMP, ICMPv6 or another number
	TTL        uint8 // hop limit in IPv6
	Fragment   bool  // any fragment, the first included
	Src, Dst   netip.Addr
	SrcPort    uint16
	DstPort    uint16
	TCPFlags   uint8
	ICMPType   uint8
	ICMPCode   uint8
	ID, Seq    uint16 // of an echo request or reply
	HeaderLen  int    // bytes before the payload's own header
	TotalLen   int    // bytes of the packet by its own header
	PayloadLen int    // bytes behind the TCP, UDP or ICMP header; TotalLen-HeaderLen for others
}

// Parse fills p from the packet that starts at b[0] and reports whether b holds
// one whole well-formed IPv4 or IPv6 packet with the header of its payload. Bytes
// behind the packet's own length are allowed (WireGuard pads) and left out of
// TotalLen. IPv6 extension headers are not walked: Proto then names the first of
// them, and Fragment is set for a fragment header (RFC 8200, section 4.5). It
// verifies no checksum. p holds nothing useful when Parse returns false.
func Parse(b []byte, p *Info) bool {
	*p = Info{}
	if len(b) < IPv4Header {
		return false
	}
	switch b[0] >> 4 {
	case 4:
		return parse4(b, p)
	case 6:
		return parse6(b, p)
	}
	return false
}

func parse4(b []byte, p *Info) bool {
	header := int(b[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if header < IPv4Header || total < header || total > len(b) {
		return false
	}
	p.Version = 4
	p.Proto = b[9]
	p.TTL = b[8]
	p.Src = netip.AddrFrom4([4]byte(b[12:16]))
	p.Dst = netip.AddrFrom4([4]byte(b[16:20]))
	p.HeaderLen = header
	p.TotalLen = total
	if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 { // more fragments, or an offset
		p.Fragment = true
		p.PayloadLen = total - header
		return true
	}
	return parsePayload(b[header:total], p, ICMP)
}

// ipv6Fragment is the next-header number of a fragment header.
const ipv6Fragment = 44

func parse6(b []byte, p *Info) bool {
	if len(b) < IPv6Header {
		return false
	}
	total := IPv6Header + int(binary.BigEndian.Uint16(b[4:]))
	if total > len(b) {
		return false
	}
	p.Version = 6
	p.Proto = b[6]
	p.TTL = b[7]
	p.Src = netip.AddrFrom16([16]byte(b[8:24]))
	p.Dst = netip.AddrFrom16([16]byte(b[24:40]))
	p.HeaderLen = IPv6Header
	p.TotalLen = total
	if p.Proto == ipv6Fragment {
		p.Fragment = true
		p.PayloadLen = total - IPv6Header
		return true
	}
	return parsePayload(b[IPv6Header:total], p, ICMPv6)
}

// parsePayload reads the header behind the IP header; icmp is the number that
// means ICMP in this IP version.
func parsePayload(b []byte, p *Info, icmp uint8) bool {
	switch p.Proto {
	case TCP:
		if len(b) < TCPHeader {
			return false
		}
		header := int(b[12]>>4) * 4
		if header < TCPHeader || header > len(b) {
			return false
		}
		p.SrcPort = binary.BigEndian.Uint16(b)
		p.DstPort = binary.BigEndian.Uint16(b[2:])
		p.TCPFlags = b[13] & 0x3f
		p.PayloadLen = len(b) - header
	case UDP:
		if len(b) < UDPHeader {
			return false
		}
		if n := int(binary.BigEndian.Uint16(b[4:])); n < UDPHeader || n > len(b) {
			return false
		}
		p.SrcPort = binary.BigEndian.Uint16(b)
		p.DstPort = binary.BigEndian.Uint16(b[2:])
		p.PayloadLen = len(b) - UDPHeader
	case icmp:
		if len(b) < ICMPHeader {
			return false
		}
		p.ICMPType = b[0]
		p.ICMPCode = b[1]
		p.PayloadLen = len(b) - ICMPHeader
		if p.IsEchoRequest() || p.IsEchoReply() {
			p.ID = binary.BigEndian.Uint16(b[4:])
			p.Seq = binary.BigEndian.Uint16(b[6:])
		}
	default:
		p.PayloadLen = len(b)
	}
	return true
}

// IsEchoRequest reports whether the packet is a whole ICMP or ICMPv6 echo request.
func (p *Info) IsEchoRequest() bool { return p.isEcho(EchoRequest, EchoRequestV6) }

// IsEchoReply reports whether the packet is a whole ICMP or ICMPv6 echo reply.
func (p *Info) IsEchoReply() bool { return p.isEcho(EchoReply, EchoReplyV6) }

func (p *Info) isEcho(v4, v6 uint8) bool {
	if p.Fragment || p.ICMPCode != 0 {
		return false
	}
	switch p.Version {
	case 4:
		return p.Proto == ICMP && p.ICMPType == v4
	case 6:
		return p.Proto == ICMPv6 && p.ICMPType == v6
	}
	return false
}
