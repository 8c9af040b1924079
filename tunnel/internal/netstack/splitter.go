package netstack

import (
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// maxHeader is the most that IP and TCP headers take.
const maxHeader = header.IPv6MinimumSize + header.IPv6ExperimentHdrLength + header.TCPHeaderMaximumSize

// A splitter cuts what the stack gives into packets of the wire, one after the other,
// and completes the TCP checksums that the stack leaves to its card. The zero value
// has nothing to cut.
type splitter struct {
	pkt  *stack.PacketBuffer // nil: nothing
	view *buffer.View        // where the rest begins
	skip int                 // bytes of view that are done
	left int                 // bytes of payload, of an uncut packet all bytes

	mss    int    // 0: the packet is not cut
	header []byte // IP and TCP, as for the next segment; in space
	ip     int    // bytes of the IP header
	space  [maxHeader]byte
}

// start takes a packet, which the splitter releases at its end.
func (s *splitter) start(pkt *stack.PacketBuffer) {
	views, skip := pkt.AsViewList()
	s.pkt, s.view, s.skip, s.left, s.mss = pkt, views.Front(), skip, pkt.Size(), 0
	gso := &pkt.GSOOptions
	if gso.Type != stack.GSOTCPv4 && gso.Type != stack.GSOTCPv6 || !gso.NeedsCsum {
		return
	}
	s.ip = len(pkt.NetworkHeader().Slice())
	size := s.ip + len(pkt.TransportHeader().Slice())
	if size > len(s.space) || size > s.left || gso.MSS == 0 {
		return
	}
	s.header = s.space[:size]
	s.copy(s.header)
	s.left -= size
	s.mss = int(gso.MSS)
}

// segments is how many packets are left.
func (s *splitter) segments() int {
	switch {
	case s.pkt == nil:
		return 0
	case s.mss == 0:
		return 1
	}
	return max(1, (s.left+s.mss-1)/s.mss)
}

// next puts the next packet of the wire into b and returns its size, 0 when there is
// none, or one that does not fit.
func (s *splitter) next(b []byte) int {
	if s.pkt == nil {
		return 0
	}
	if s.mss == 0 {
		size := s.left
		if size <= len(b) {
			s.copy(b[:size])
		} else {
			size = 0
		}
		s.release()
		return size
	}
	payload := min(s.left, s.mss)
	size := len(s.header) + payload
	if size > len(b) {
		s.release()
		return 0
	}
	b = b[:size]
	copy(b, s.header)
	s.copy(b[len(s.header):])
	s.left -= payload
	s.finish(b)
	if s.left == 0 {
		s.release()
	} else {
		s.advance(payload)
	}
	return size
}

// finish sets in one segment what differs from those before it.
func (s *splitter) finish(b []byte) {
	tcp := header.TCP(b[s.ip:])
	if s.left > 0 {
		tcp.SetFlags(uint8(tcp.Flags() &^ (header.TCPFlagFin | header.TCPFlagPsh)))
	}
	var sum uint16
	if b[0]>>4 == 4 {
		ip := header.IPv4(b)
		ip.SetTotalLength(uint16(len(b)))
		ip.SetChecksum(0)
		ip.SetChecksum(^ip.CalculateChecksum())
		sum = header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(tcp)))
	} else {
		ip := header.IPv6(b)
		ip.SetPayloadLength(uint16(len(b) - header.IPv6MinimumSize))
		sum = header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(tcp)))
	}
	tcp.SetChecksum(0)
	tcp.SetChecksum(^checksum.Checksum(tcp, sum))
}

// advance makes the header that of the segment after one with payload bytes.
func (s *splitter) advance(payload int) {
	tcp := header.TCP(s.header[s.ip:])
	tcp.SetSequenceNumber(tcp.SequenceNumber() + uint32(payload))
	if s.header[0]>>4 == 4 {
		ip := header.IPv4(s.header)
		ip.SetID(ip.ID() + 1)
	}
}

// copy fills b with what comes next.
func (s *splitter) copy(b []byte) {
	for len(b) > 0 {
		from := s.view.AsSlice()[s.skip:]
		n := copy(b, from)
		b = b[n:]
		if s.skip += n; n == len(from) {
			s.view, s.skip = s.view.Next(), 0
		}
	}
}

// release lets the packet go.
func (s *splitter) release() {
	if s.pkt != nil {
		s.pkt.DecRef()
		s.pkt, s.view = nil, nil
	}
}
