package leg

import (
	"net"

	"golang.org/x/net/ipv4"
)

// batchIO is recvmmsg and sendmmsg.
type batchIO struct {
	c       *ipv4.PacketConn
	in, out []ipv4.Message
}

func newBatchIO(c *net.UDPConn) batchIO {
	b := batchIO{ipv4.NewPacketConn(c), make([]ipv4.Message, batch), make([]ipv4.Message, batch)}
	for i := range batch {
		b.in[i].Buffers = make([][]byte, 1)
		b.out[i].Buffers = make([][]byte, 1)
	}
	return b
}

func (b batchIO) read(bufs [][]byte, sizes []int) (int, error) {
	for i := range b.in {
		b.in[i].Buffers[0] = bufs[i]
	}
	n, err := b.c.ReadBatch(b.in, 0)
	if err != nil {
		return 0, err
	}
	for i := range n {
		sizes[i] = b.in[i].N
	}
	return n, nil
}

func (b batchIO) write(packets [][]byte) (int, error) {
	n := min(len(packets), batch)
	for i := range n {
		b.out[i].Buffers[0] = packets[i]
	}
	return b.c.WriteBatch(b.out[:n], 0)
}
