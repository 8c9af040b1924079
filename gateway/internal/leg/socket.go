package leg

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"
)

// A socket is a leg's own UDP socket, which only the node's port is heard on.
type socket struct {
	*net.UDPConn
	batch batchIO
}

// socketBuffer holds what the node sends at once, in bytes.
const socketBuffer = 256 << 10

// open makes a socket for the node's UDP port. Each has an address of its own where
// loopback is a whole network, because WireGuard limits handshakes by address.
func open(port uint16) (*socket, error) {
	far := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)}
	own := net.IPv4(127, byte(1+rand.IntN(254)), byte(rand.IntN(256)), byte(1+rand.IntN(254)))
	c, err := net.DialUDP("udp4", &net.UDPAddr{IP: own}, far)
	if err != nil {
		c, err = net.DialUDP("udp4", nil, far)
	}
	if err != nil {
		return nil, fmt.Errorf("leg: %w", err)
	}
	_ = c.SetReadBuffer(socketBuffer)
	_ = c.SetWriteBuffer(socketBuffer)
	return &socket{UDPConn: c, batch: newBatchIO(c)}, nil
}

// interrupt ends readBatch, which then reports false until resume.
func (s *socket) interrupt() { _ = s.SetReadDeadline(time.Unix(1, 0)) }

func (s *socket) resume() { _ = s.SetReadDeadline(time.Time{}) }

// readBatch waits for packets of the node. It reports false once it is interrupted or
// the socket is closed. That the node did not take a packet is no reason to end.
func (s *socket) readBatch(bufs [][]byte, sizes []int) (n int, ok bool) {
	for {
		n, err := s.batch.read(bufs, sizes)
		switch {
		case err == nil:
			return n, true
		case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed):
			return 0, false
		}
		time.Sleep(time.Millisecond)
	}
}

// writeBatch sends packets to the node; what it does not take is lost.
func (s *socket) writeBatch(packets [][]byte) {
	for refused := 0; len(packets) > 0 && refused < 2; {
		n, err := s.batch.write(packets)
		if err != nil {
			refused++ // by an answer to an earlier packet, perhaps
		}
		packets = packets[max(n, 0):]
	}
}
