package mqtt

import (
	"bufio"
	"net"
	"sync"
	"time"
)

// writeTimeout bounds one write: a broker that stops reading would otherwise hold
// a goroutine for as long as it likes.
const writeTimeout = 30 * time.Second

// A conn is a connection to a broker as the client library wants it, safe for
// concurrent writes, and as we want it: inspected on the way in, and one write
// for each packet on the way out.
//
// The client library locks the conn around the several writes of a packet. They
// are gathered until it unlocks, so that a packet is one TLS record, or one
// WebSocket frame.
type conn struct {
	net.Conn

	r    *bufio.Reader
	in   inspector
	bad  error      // what the inspector found; read by one goroutine
	why  error      // the same, for fault
	code byte       // of the broker's DISCONNECT, or reasonNone
	info sync.Mutex // protects why and code

	mu     sync.Mutex // held from Lock to Unlock, protects out and failed
	out    []byte
	failed error
}

func newConn(c net.Conn) *conn {
	return &conn{Conn: c, r: bufio.NewReaderSize(c, 2<<10), in: newInspector(), code: reasonNone}
}

// Read passes on what the inspector lets through; its verdict is final.
func (c *conn) Read(p []byte) (int, error) {
	if c.bad != nil {
		return 0, c.bad
	}
	n, err := c.r.Read(p)
	good, bad := c.in.inspect(p[:n])
	if bad != nil || c.in.reason != reasonNone {
		c.info.Lock()
		c.why, c.code = bad, c.in.reason
		c.info.Unlock()
	}
	if bad == nil {
		return n, err
	}
	c.bad = bad
	if good == 0 {
		return 0, bad
	}
	return good, nil
}

// fault is what broke the rules of the connection, if anything did, and the code
// with which the broker ended it, or reasonNone.
func (c *conn) fault() (error, byte) {
	c.info.Lock()
	defer c.info.Unlock()
	return c.why, c.code
}

// Lock begins a packet.
func (c *conn) Lock() { c.mu.Lock() }

// Unlock sends the packet. A failure closes the connection, since the writes of
// the packet have already succeeded.
func (c *conn) Unlock() {
	if len(c.out) > 0 && c.failed == nil {
		if c.failed = c.send(c.out); c.failed != nil {
			c.Conn.Close()
		}
	}
	if c.out = c.out[:0]; cap(c.out) > 16<<10 {
		c.out = nil
	}
	c.mu.Unlock()
}

// Write belongs between Lock and Unlock.
func (c *conn) Write(p []byte) (int, error) {
	if c.failed != nil {
		return 0, c.failed
	}
	c.out = append(c.out, p...)
	return len(p), nil
}

func (c *conn) send(p []byte) error {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := c.Conn.Write(p)
	return err
}

// hurry leaves a shutdown one second for its DISCONNECT.
func (c *conn) hurry() { time.AfterFunc(time.Second, func() { c.Conn.Close() }) }
