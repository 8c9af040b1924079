//go:build !linux

package leg

import "net"

// batchIO is one packet in a call.
type batchIO struct{ c *net.UDPConn }

func newBatchIO(c *net.UDPConn) batchIO { return batchIO{c} }

func (b batchIO) read(bufs [][]byte, sizes []int) (n int, err error) {
	if sizes[0], err = b.c.Read(bufs[0]); err != nil {
		return 0, err
	}
	return 1, nil
}

func (b batchIO) write(packets [][]byte) (int, error) {
	if _, err := b.c.Write(packets[0]); err != nil {
		return 0, err
	}
	return 1, nil
}
