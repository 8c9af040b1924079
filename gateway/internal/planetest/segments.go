package planetest

import (
	"encoding/binary"
	"testing"

	"github.com/boothwire/boothwire/internal/packet"
)

// segmentSize: what the ends of a TCP connection announce is lowered to what the tunnels
// carry, in both directions, and stays as it is where it is less.
func segmentSize(t *testing.T, s Subject) {
	p := newWorld(t, s).pair(1)
	const most = mtu - packet.IPv4Header - packet.TCPHeader
	for i, announced := range []uint16{1460, 0xffff, most + 1, most, 536} {
		syn := announcing(tcpFrom(p.operator.address, his+uint16(i), p.device.address, ssh.Number, packet.SYN), announced)
		answer := announcing(tcpFrom(p.device.address, ssh.Number, p.operator.address, his+uint16(i), packet.SYN|packet.ACK), announced)
		for _, way := range []struct {
			from, to *client
			d        datagram
		}{{p.operator, p.device, syn}, {p.device, p.operator, answer}} {
			mark := way.to.mark()
			way.from.send(way.d.bytes())
			way.to.gets(mark, announcing(way.d, min(announced, most)).bytes())
		}
	}
}

// announcing is a SYN with the options of a usual stack, the segment size among them.
func announcing(d datagram, mss uint16) datagram {
	segment := append([]byte(nil), d.payload[:packet.TCPHeader]...)
	segment = append(segment, 2, 4, byte(mss>>8), byte(mss), 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7)
	segment[12] = byte(len(segment)/4) << 4
	binary.BigEndian.PutUint16(segment[16:], 0)
	binary.BigEndian.PutUint16(segment[16:], d.over(segment))
	d.payload = segment
	return d
}
