package netstack

import (
	"bytes"
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// mergedMax is the longest packet that segments are merged into: its length has 16
// bits.
const mergedMax = 1<<16 - 1

// segment returns how long the IP and TCP headers of b are, and where TCP's begins.
// ok is false for all that is not plain data of a TCP connection: for other protocols,
// fragments, IP options, and flags beside ACK and PSH.
func segment(b []byte) (ip, size int, ok bool) {
	switch {
	case len(b) >= header.IPv4MinimumSize && b[0] == 0x45:
		// Total length, and neither offset nor more fragments.
		if int(binary.BigEndian.Uint16(b[2:])) != len(b) || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 || b[9] != uint8(header.TCPProtocolNumber) {
			return 0, 0, false
		}
		ip = header.IPv4MinimumSize
	case len(b) >= header.IPv6MinimumSize && b[0]>>4 == 6:
		if int(binary.BigEndian.Uint16(b[4:]))+header.IPv6MinimumSize != len(b) || b[6] != uint8(header.TCPProtocolNumber) {
			return 0, 0, false
		}
		ip = header.IPv6MinimumSize
	default:
		return 0, 0, false
	}
	if len(b) < ip+header.TCPMinimumSize {
		return 0, 0, false
	}
	tcp := header.TCP(b[ip:])
	size = ip + int(tcp.DataOffset())
	ok = size >= ip+header.TCPMinimumSize && size < len(b) && tcp.Flags()&^header.TCPFlagPsh == header.TCPFlagAck
	return ip, size, ok
}

// alike reports whether the headers of two segments differ in no more than length,
// identification, checksums, sequence number and PSH.
func alike(a, b []byte, ip, size int) bool {
	if ip == header.IPv4MinimumSize {
		if [2]byte(a) != [2]byte(b) || [4]byte(a[6:]) != [4]byte(b[6:]) || [8]byte(a[12:]) != [8]byte(b[12:]) {
			return false
		}
	} else if [4]byte(a) != [4]byte(b) || [34]byte(a[6:]) != [34]byte(b[6:]) {
		return false
	}
	s, t := a[ip:size], b[ip:size]
	// Ports; acknowledgement and offset; window; urgent pointer and options.
	return [4]byte(s) == [4]byte(t) && [5]byte(s[8:]) == [5]byte(t[8:]) && [2]byte(s[14:]) == [2]byte(t[14:]) && bytes.Equal(s[18:], t[18:])
}

// follow returns how many of bufs, the first among them, are segments that follow each
// other and can be one, and how long that one is.
func follow(bufs [][]byte, offset int) (n, length int) {
	first := bufs[0][offset:]
	ip, size, ok := segment(first)
	length = len(first)
	if !ok || header.TCP(first[ip:]).Flags()&header.TCPFlagPsh != 0 {
		return 1, length
	}
	payload := len(first) - size
	seq := header.TCP(first[ip:]).SequenceNumber()
	for n = 1; n < len(bufs); n++ {
		b := bufs[n][offset:]
		bip, bsize, ok := segment(b)
		if !ok || bip != ip || bsize != size || len(b) > size+payload || length+len(b)-size > mergedMax || !alike(first, b, ip, size) {
			break
		}
		tcp := header.TCP(b[ip:])
		if tcp.SequenceNumber() != seq+uint32(length-size) {
			break
		}
		length += len(b) - size
		if len(b) < size+payload || tcp.Flags()&header.TCPFlagPsh != 0 {
			return n + 1, length // a sender's last
		}
	}
	return n, length
}

// merge makes one packet of what follow has counted.
func merge(bufs [][]byte, offset, length int) *buffer.View {
	v := buffer.NewView(length)
	_, _ = v.Write(bufs[0][offset:])
	if len(bufs) == 1 {
		return v
	}
	ip, size, _ := segment(bufs[0][offset:])
	for _, b := range bufs[1:] {
		_, _ = v.Write(b[offset+size:])
	}
	b := v.AsSlice()
	if ip == header.IPv4MinimumSize {
		header.IPv4(b).SetTotalLength(uint16(length)) // nobody looks at its checksum again
	} else {
		header.IPv6(b).SetPayloadLength(uint16(length - ip))
	}
	last := header.TCP(bufs[len(bufs)-1][offset+ip:])
	header.TCP(b[ip:]).SetFlags(uint8(last.Flags()))
	return v
}
