package relay

import (
	"errors"
	"io"

	"github.com/boothwire/boothwire/relay/internal/wire"
)

// A block is frames that were read.
type block struct {
	b    []byte
	n    int // bytes of whole frames
	from int
}

// blockSize is what TLS brings in one record, and a torn frame before it.
const blockSize = 36 << 10

// WriteBatch sends packets of at most 16 KiB each, in one write of TLS. It does not
// wait for the network.
func (c *Conn) WriteBatch(packets [][]byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, c.reason()
	}
	l := c.link.Load()
	if l == nil {
		return len(packets), nil
	}
	k := c.pool.Get().(*block)
	b := k.b[:0]
	for _, p := range packets {
		if len(p) == 0 || len(p) > wire.MaxPacket {
			continue
		}
		if len(b)+wire.Header+len(p) > len(k.b) {
			_ = l.out.Put(b)
			b = b[:0]
		}
		b = wire.AppendPacket(b, p)
	}
	if len(b) > 0 {
		_ = l.out.Put(b)
	}
	c.pool.Put(k)
	return len(packets), nil
}

// Write sends one packet.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) == 0 || len(p) > wire.MaxPacket {
		return 0, errors.New("relay: a packet has 1 to 16,384 bytes")
	}
	one := [1][]byte{p}
	if _, err := c.WriteBatch(one[:]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ReadBatch waits for packets and puts each into one of bufs, its length into sizes. A
// packet that is longer than its buffer is cut, as by a datagram socket. The error is
// net.ErrClosed after Close, and an *Error when the session is over at the relay.
func (c *Conn) ReadBatch(bufs [][]byte, sizes []int) (n int, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	for n == 0 {
		k := c.rest
		if c.rest = nil; k == nil {
			select {
			case k = <-c.in:
			case <-c.ctx.Done():
				return 0, c.reason()
			}
		}
		for k.from < k.n && n < len(bufs) {
			typ, body, size, err := wire.Next(k.b[k.from:k.n])
			if err != nil || size == 0 {
				k.from = k.n
				break
			}
			k.from += size
			if typ == wire.Packet {
				sizes[n] = copy(bufs[n], body)
				n++
			}
		}
		if k.from < k.n {
			c.rest = k
		} else {
			c.pool.Put(k)
		}
	}
	return n, nil
}

// Read is ReadBatch for one packet.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, io.ErrShortBuffer
	}
	var size [1]int
	one := [1][]byte{p}
	if _, err := c.ReadBatch(one[:], size[:]); err != nil {
		return 0, err
	}
	return size[0], nil
}
