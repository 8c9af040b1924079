package planetest

import (
	"encoding/binary"
	"net/netip"

	"github.com/boothwire/boothwire/internal/packet"
)

// datagram is an IPv4 packet to be; its zero value but for addresses is a good one.
type datagram struct {
	src, dst netip.Addr
	proto    uint8
	ttl      uint8  // 0: 64
	none     bool   // a TTL of 0 indeed
	fragment uint16 // the word of flags and offset
	options  []byte // a multiple of 4
	length   int    // of the header's own claim; 0: the truth
	payload  []byte
}

func (d datagram) bytes() []byte {
	header := packet.IPv4Header + len(d.options)
	b := append(make([]byte, header), d.payload...)
	b[0] = 0x40 | byte(header/4)
	length := len(b)
	if d.length != 0 {
		length = d.length
	}
	binary.BigEndian.PutUint16(b[2:], uint16(length))
	binary.BigEndian.PutUint16(b[4:], 0x1234)
	binary.BigEndian.PutUint16(b[6:], d.fragment)
	b[8], b[9] = 64, d.proto
	if d.ttl != 0 || d.none {
		b[8] = d.ttl
	}
	src, dst := d.src.As4(), d.dst.As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	copy(b[packet.IPv4Header:], d.options)
	binary.BigEndian.PutUint16(b[10:], packet.Checksum(b[:header], 0))
	return b
}

// over is the checksum of a payload with its pseudo header.
func (d datagram) over(b []byte) uint16 {
	src, dst := d.src.As4(), d.dst.As4()
	sum := packet.Sum(src[:], uint32(len(b))+uint32(d.proto))
	return packet.Checksum(b, packet.Sum(dst[:], sum))
}

func tcpFrom(src netip.Addr, sport uint16, dst netip.Addr, dport uint16, flags uint8) datagram {
	d := datagram{src: src, dst: dst, proto: packet.TCP, payload: make([]byte, packet.TCPHeader)}
	binary.BigEndian.PutUint16(d.payload, sport)
	binary.BigEndian.PutUint16(d.payload[2:], dport)
	binary.BigEndian.PutUint32(d.payload[4:], 0x01020304)
	d.payload[12], d.payload[13] = 0x50, flags
	binary.BigEndian.PutUint16(d.payload[14:], 4096)
	binary.BigEndian.PutUint16(d.payload[16:], d.over(d.payload))
	return d
}

func udpFrom(src netip.Addr, sport uint16, dst netip.Addr, dport uint16, data string) datagram {
	d := datagram{src: src, dst: dst, proto: packet.UDP, payload: append(make([]byte, packet.UDPHeader), data...)}
	binary.BigEndian.PutUint16(d.payload, sport)
	binary.BigEndian.PutUint16(d.payload[2:], dport)
	binary.BigEndian.PutUint16(d.payload[4:], uint16(len(d.payload)))
	binary.BigEndian.PutUint16(d.payload[6:], d.over(d.payload))
	return d
}

// icmpFrom is an ICMP message whose second word is rest.
func icmpFrom(src, dst netip.Addr, kind, code uint8, rest uint32, data []byte) datagram {
	d := datagram{src: src, dst: dst, proto: packet.ICMP, payload: append(make([]byte, packet.ICMPHeader), data...)}
	d.payload[0], d.payload[1] = kind, code
	binary.BigEndian.PutUint32(d.payload[4:], rest)
	binary.BigEndian.PutUint16(d.payload[2:], packet.Checksum(d.payload, 0))
	return d
}

// echoFrom is an echo request, or the reply to one.
func echoFrom(src, dst netip.Addr, reply bool, id, seq uint16) datagram {
	kind := uint8(packet.EchoRequest)
	if reply {
		kind = packet.EchoReply
	}
	return icmpFrom(src, dst, kind, 0, uint32(id)<<16|uint32(seq), []byte("echo"))
}

// sixFrom is an IPv6 packet.
func sixFrom(src, dst string, proto uint8, payload []byte) []byte {
	b := append(make([]byte, packet.IPv6Header), payload...)
	b[0], b[6], b[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	s, d := netip.MustParseAddr(src).As16(), netip.MustParseAddr(dst).As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	return b
}
