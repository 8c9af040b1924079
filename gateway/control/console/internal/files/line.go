package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"

	"github.com/boothwire/boothwire/gateway/control/console/internal/sshconn"
)

// Limits of a line.
const (
	packet      = 32 << 10 // bytes of contents in an SFTP packet, which every server takes
	window      = 1 << 20  // bytes of one transfer that are on the way and in memory: 10 MB/s at 100 ms
	openTimeout = 20 * time.Second
	stall       = 60 * time.Second // without an answer
	lookBudget  = 16 << 20         // bytes: about 100,000 entries of a folder
)

// A line is one SFTP channel, opened when it is needed and kept while it works. One
// request has it at a time.
type line struct {
	client *sftp.Client
	stream *sshconn.Stream
	meter  *meter
}

// A lease is a line in one request's hands.
type lease struct {
	*sftp.Client
	slow *time.Timer
}

// alive says that the server has answered.
func (l *lease) alive() { l.slow.Reset(stall) }

// Stat, Lstat and OpenFile hide what package sftp answers with when a server says "ok" in
// place of what was asked for: nothing, and no error.

func (l *lease) Stat(p string) (fs.FileInfo, error)  { return there(l.Client.Stat(p)) }
func (l *lease) Lstat(p string) (fs.FileInfo, error) { return there(l.Client.Lstat(p)) }

func (l *lease) OpenFile(p string, flags int) (*sftp.File, error) {
	f, err := l.Client.OpenFile(p, flags)
	if f == nil && err == nil {
		err = errUnclear
	}
	return f, err
}

func there(is fs.FileInfo, err error) (fs.FileInfo, error) {
	if err != nil {
		return nil, err
	}
	if is != nil {
		if stat, ok := is.Sys().(*sftp.FileStat); ok && stat != nil {
			return is, nil
		}
	}
	return nil, errUnclear
}

// use runs f with the line's client, which it opens first. A server that sends more than
// budget bytes meanwhile (0: any number) or does not answer loses the channel, and so
// does a request that is over before f is.
func (l *line) use(ctx context.Context, conn *sshconn.Conn, budget int64, f func(*lease) error) error {
	if err := l.open(ctx, conn); err != nil {
		return err
	}
	stream, broken := l.stream, new(atomic.Bool)
	cut := func() {
		broken.Store(true)
		stream.Close()
	}
	l.meter.left.Store(budget)
	l.meter.limited.Store(budget > 0)
	slow := time.AfterFunc(stall, cut)
	stop := context.AfterFunc(ctx, cut)
	err := f(&lease{l.client, slow})
	slow.Stop()
	stop()
	spent := l.meter.limited.Swap(false) && l.meter.left.Load() < 0
	if broken.Load() || spent {
		l.drop()
	}
	switch {
	case spent:
		return errFolder
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case conn.Err() != nil:
		return conn.Err()
	}
	return err
}

// open opens the line if it is not, or no longer.
func (l *line) open(ctx context.Context, conn *sshconn.Conn) error {
	if l.client != nil {
		if !l.meter.over.Load() {
			return nil
		}
		l.drop()
	}
	stream, err := conn.Subsystem(ctx, "sftp")
	if err != nil {
		return err
	}
	l.stream, l.meter = stream, &meter{Reader: stream}
	slow := time.AfterFunc(openTimeout, func() { stream.Close() })
	defer slow.Stop()
	l.client, err = sftp.NewClientPipe(l.meter, writeCloser{stream}, sftp.UseConcurrentWrites(true), sftp.MaxConcurrentRequestsPerFile(window/packet))
	if err != nil {
		l.drop()
		return &sshconn.Error{Code: sshconn.CodeRefused, Err: err}
	}
	return nil
}

// drop closes the channel; the next use opens another one.
func (l *line) drop() {
	l.stream.Close()
	l.client = nil
}

var (
	errSpent   = errors.New("the server sends too much")
	errUnclear = errors.New("the server answers another question")
)

// A meter stops a server that sends more than it may.
type meter struct {
	io.Reader
	limited atomic.Bool
	left    atomic.Int64 // bytes, where limited
	over    atomic.Bool  // nothing more comes
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.Reader.Read(b)
	if m.left.Add(-int64(n)) < 0 && m.limited.Load() {
		n, err = 0, errSpent // a reader that has what it wants would not see the error
	}
	if err != nil {
		m.over.Store(true)
	}
	return n, err
}

// writeCloser is a stream as what sftp writes to.
type writeCloser struct{ s *sshconn.Stream }

func (w writeCloser) Write(b []byte) (int, error) { return w.s.Write(b) }
func (w writeCloser) Close() error                { return w.s.Close() }
