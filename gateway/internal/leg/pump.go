package leg

import "net"

const (
	batch   = 8       // packets at once: what waits for a leg that is idle is small
	largest = 2 << 10 // bytes of a packet: a node's MTU has at most 1,920
)

// batcher is a connection that hands over many packets at once.
type batcher interface {
	ReadBatch(bufs [][]byte, sizes []int) (n int, err error)
	WriteBatch(bufs [][]byte) (n int, err error)
}

// batches makes a batcher of any connection that keeps packets apart.
func batches(c net.Conn) batcher {
	if b, ok := c.(batcher); ok {
		return b
	}
	return single{c}
}

// single hands over packets one by one.
type single struct{ net.Conn }

func (s single) ReadBatch(bufs [][]byte, sizes []int) (n int, err error) {
	sizes[0], err = s.Read(bufs[0])
	if err != nil {
		return 0, err
	}
	return 1, nil
}

func (s single) WriteBatch(bufs [][]byte) (n int, err error) {
	for i, b := range bufs {
		if _, err := s.Write(b); err != nil {
			return i, err
		}
	}
	return len(bufs), nil
}

func buffers() (bufs [][]byte, sizes []int) {
	bufs = make([][]byte, batch)
	for i, all := 0, make([]byte, batch*largest); i < batch; i++ {
		bufs[i] = all[i*largest : (i+1)*largest : (i+1)*largest]
	}
	return bufs, make([]int, batch)
}

// inward brings what far hands over to the node, until far fails.
func inward(far batcher, local *socket) error {
	bufs, sizes := buffers()
	out := make([][]byte, 0, batch)
	for {
		n, err := far.ReadBatch(bufs, sizes)
		if err != nil {
			return err
		}
		out = out[:0]
		for i := range n {
			if sizes[i] > 0 {
				out = append(out, bufs[i][:sizes[i]])
			}
		}
		local.writeBatch(out)
	}
}

// outward hands what the node sends to far, until far fails or local is interrupted.
func outward(local *socket, far batcher) {
	bufs, sizes := buffers()
	out := make([][]byte, 0, batch)
	for {
		n, ok := local.readBatch(bufs, sizes)
		if !ok {
			return
		}
		out = out[:0]
		for i := range n {
			if sizes[i] > 0 {
				out = append(out, bufs[i][:sizes[i]])
			}
		}
		if len(out) == 0 {
			continue
		}
		if _, err := far.WriteBatch(out); err != nil {
			return
		}
	}
}
