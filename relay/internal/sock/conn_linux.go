package sock

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Wrap returns c with reads and writes that suit a leg, to be put below TLS; what is no
// TCP connection it returns as it is.
func Wrap(c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return c
	}
	w := &conn{Conn: t}
	w.in.raw, w.out.raw = raw, raw
	w.in.try, w.out.try = w.in.receive, w.out.send // made once: a packet costs no allocation
	return w
}

// A conn is a TCP connection that carries TLS.
type conn struct {
	net.Conn // the TCP connection
	in       reader
	out      writer
}

var _ Leg = (*conn)(nil)

// NetConn is for what wants the TCP connection.
func (c *conn) NetConn() net.Conn { return c.Conn }

func (c *conn) error(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// A reader takes whatever there is in one system call and hands it on record by record,
// so that it can tell whether the next one is there. It holds a buffer only while
// there is something in it. Where records are large there is nothing to gather, and
// what comes goes straight to who asks: the copy would cost more than the calls.
type reader struct {
	raw    syscall.RawConn
	try    func(fd uintptr) bool
	buf    *[]byte // nil: nothing is buffered
	from   int     // in buf
	p      []byte  // that is read into where buf is not
	n      int     // bytes in p
	record int     // bytes until the next record begins
	head   [recordHeader]byte
	heads  int  // bytes of head that were handed on
	large  bool // the last record is
	err    error
}

const (
	recordHeader = 5
	readSize     = 64 << 10
)

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}

// Whole reports whether the next record of TLS is there.
func (c *conn) Whole() bool {
	r := &c.in
	if r.buf == nil || r.heads > 0 || r.record > 0 {
		return false
	}
	b := (*r.buf)[r.from:]
	return len(b) >= recordHeader && len(b) >= recordHeader+int(binary.BigEndian.Uint16(b[3:]))
}

// Read hands on no more than the rest of a record, unless the last one was large.
func (c *conn) Read(p []byte) (int, error) {
	r := &c.in
	if len(p) == 0 {
		return 0, nil
	}
	if r.buf == nil {
		r.p = p
		err := r.raw.Read(r.try)
		r.p = nil
		if err == nil {
			err = c.error("read", r.err)
		}
		if err != nil {
			return 0, err
		}
		if r.buf == nil {
			r.follow(p[:r.n])
			return r.n, nil
		}
	}
	b := (*r.buf)[r.from:]
	n := 0
	if r.record == 0 { // a header begins, or goes on
		n = min(recordHeader-r.heads, len(b), len(p))
		copy(p, b[:n])
		r.follow(p[:n])
	}
	m := copy(p[n:], b[n:min(len(b), n+r.record)])
	r.record -= m
	n += m
	if r.from += n; r.from == len(*r.buf) {
		r.release()
	}
	return n, nil
}

// follow finds where the records are in what is handed on.
func (r *reader) follow(b []byte) {
	for len(b) > 0 {
		n := min(r.record, len(b))
		r.record -= n
		b = b[n:]
		n = copy(r.head[r.heads:], b)
		b = b[n:]
		if r.heads += n; r.heads == recordHeader {
			r.heads, r.record = 0, int(binary.BigEndian.Uint16(r.head[3:]))
			r.large = r.record >= large
		}
	}
}

func (r *reader) release() {
	*r.buf = (*r.buf)[:readSize]
	readBuffers.Put(r.buf)
	r.buf, r.from = nil, 0
}

// receive takes a buffer when there is something to read, and not before.
func (r *reader) receive(fd uintptr) bool {
	to := r.p
	if !r.large {
		r.buf = readBuffers.Get().(*[]byte)
		to = *r.buf
	}
	n, err := unix.Read(int(fd), to)
	for err == unix.EINTR {
		n, err = unix.Read(int(fd), to)
	}
	if n > 0 {
		r.n, r.err = n, nil
		if r.buf != nil {
			*r.buf = to[:n]
		}
		return true
	}
	if r.buf != nil {
		r.release()
	}
	if r.err = err; err == nil {
		r.err = io.EOF
	}
	return err != unix.EAGAIN
}

// A writer ends an skb with each large write. The kernel asks how much is unsent only
// before it begins one, and else fills the last one up to 64 KiB, whatever
// TCP_NOTSENT_LOWAT says. Small writes may share one: it is cheaper, and where a last
// mile is slow they become large before it.
type writer struct {
	raw syscall.RawConn
	try func(fd uintptr) bool

	holds atomic.Bool // what the kernel does not take is kept and not waited for

	mu   sync.Mutex // of one write
	b    []byte     // what is left of it
	eor  int
	wait bool
	err  error
	left []byte // of one that was not waited for
}

const large = 8 << 10 // bytes

func (c *conn) Write(p []byte) (int, error) {
	w := &c.out
	w.mu.Lock()
	defer w.mu.Unlock()
	holds := w.holds.Load()
	if holds && len(w.left) > 0 {
		w.left = append(w.left, p...)
		return len(p), nil
	}
	if err := c.flush(); err != nil {
		return 0, err
	}
	n, err := w.write(p, !holds)
	if err == nil && n < len(p) {
		w.left = append(w.left[:0], p[n:]...)
		n = len(p)
	}
	return n, c.error("write", err)
}

// Hold begins or ends a time in which Write does not wait; left reports whether
// something is to be flushed.
func (c *conn) Hold(on bool) (left bool) {
	c.out.holds.Store(on)
	if on {
		return false
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return len(c.out.left) > 0
}

// Flush waits until the kernel has what it did not take.
func (c *conn) Flush() error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.flush()
}

func (c *conn) flush() error {
	w := &c.out
	if len(w.left) == 0 {
		return nil
	}
	_, err := w.write(w.left, true)
	w.left = nil
	return c.error("write", err)
}

// write returns how much the kernel took; mu is held.
func (w *writer) write(p []byte, wait bool) (int, error) {
	w.b, w.wait, w.err, w.eor = p, wait, nil, 0
	if len(p) >= large {
		w.eor = unix.MSG_EOR
	}
	err := w.raw.Write(w.try)
	if err == nil {
		err = w.err
	}
	n := len(p) - len(w.b)
	w.b = nil
	return n, err
}

// send sends what the kernel takes, and reports whether it need not be tried again.
func (w *writer) send(fd uintptr) bool {
	for len(w.b) > 0 {
		n, err := unix.SendmsgN(int(fd), w.b, nil, nil, w.eor|unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			w.b = w.b[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			return !w.wait
		default:
			w.err = err
			return true
		}
	}
	return true
}
