package packet

import "encoding/binary"

// Options of TCP (RFC 9293, section 3.1).
const (
	optionEnd  = 0
	optionNone = 1
	optionMSS  = 2
	sizeMSS    = 4 // bytes of that option
)

// ClampMSS lowers the maximum segment size that a TCP SYN in b announces to most, and
// mends the checksum (RFC 1624), which stays wrong if it was. b holds an IPv4 packet
// that Parse took; all that is no SYN, or announces less or nothing, is left as it is.
func ClampMSS(b []byte, most uint16) {
	const fragment = 0x3fff // more to come, or an offset
	if b[0]>>4 != 4 || b[9] != TCP || binary.BigEndian.Uint16(b[6:])&fragment != 0 {
		return
	}
	tcp := b[int(b[0]&15)*4:]
	if len(tcp) < TCPHeader || tcp[13]&SYN == 0 {
		return
	}
	for at, end := TCPHeader, min(int(tcp[12]>>4)*4, len(tcp)); at < end; {
		switch tcp[at] {
		case optionEnd:
			return
		case optionNone:
			at++
			continue
		}
		if at+1 >= end || tcp[at+1] < 2 || at+int(tcp[at+1]) > end {
			return
		}
		if tcp[at] == optionMSS && tcp[at+1] == sizeMSS {
			lower(tcp, at+2, most)
			return
		}
		at += int(tcp[at+1])
	}
}

// lower writes most at an offset of a segment, unless what is there is less.
func lower(tcp []byte, at int, most uint16) {
	was := binary.BigEndian.Uint16(tcp[at:])
	if was <= most {
		return
	}
	binary.BigEndian.PutUint16(tcp[at:], most)
	gone, come := uint32(^was), uint32(most)
	if at%2 == 1 { // its halves are of two words
		gone, come = gone>>8|gone<<8&0xff00, come>>8|come<<8&0xff00
	}
	sum := uint32(^binary.BigEndian.Uint16(tcp[16:])) + gone + come
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	binary.BigEndian.PutUint16(tcp[16:], ^uint16(sum))
}
