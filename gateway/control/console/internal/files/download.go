package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path"
	"time"

	"github.com/pkg/sftp"
	"go.uber.org/zap"
)

// openFile opens an ordinary file, or what a link leads to. Anything else might keep the
// server waiting for ever.
func (l *lease) openFile(p string) (*sftp.File, int64, time.Time, error) {
	is, err := l.Stat(p)
	switch {
	case err != nil:
		return nil, 0, time.Time{}, err
	case is.IsDir():
		return nil, 0, time.Time{}, errIsFolder
	case !is.Mode().IsRegular() || is.Size() < 0:
		return nil, 0, time.Time{}, errNotFile
	}
	f, err := l.OpenFile(p, os.O_RDONLY)
	if err != nil {
		return nil, 0, time.Time{}, err
	}
	return f, is.Size(), is.ModTime(), nil
}

func (h *Handler) download(d *desk, w http.ResponseWriter, r *http.Request) error {
	p, err := parsePath(r.URL.Query().Get("path"))
	if err != nil {
		return err
	}
	began := false
	err = d.transfer(r.Context(), func(l *lease) error {
		f, size, changed, err := l.openFile(p)
		if err != nil {
			return err
		}
		defer f.Close()
		began = true
		h.note(d, "file sent to a browser", p, zap.Int64("size", size))
		control := http.NewResponseController(w)
		defer control.SetWriteDeadline(time.Time{})
		head := w.Header()
		head.Set("Content-Type", "application/octet-stream")
		head.Set("Content-Disposition", disposition(path.Base(p)))
		head.Set("Content-Security-Policy", "sandbox; default-src 'none'")
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Cache-Control", "no-store")
		head.Set("ETag", fmt.Sprintf(`"%x-%x"`, size, changed.Unix()))
		http.ServeContent(w, r, "", changed, &blocks{file: f, size: size, next: func() {
			l.alive()
			control.SetWriteDeadline(time.Now().Add(stall))
		}})
		return nil
	})
	if began {
		return nil // what is missing, the browser sees by the length
	}
	return err
}

// sum answers with the SHA-256 of a file, read from the device.
func (h *Handler) sum(d *desk, w http.ResponseWriter, r *http.Request) error {
	p, err := parsePath(r.URL.Query().Get("path"))
	if err != nil {
		return err
	}
	digest := sha256.New()
	var size int64
	err = d.transfer(r.Context(), func(l *lease) error {
		f, n, _, err := l.openFile(p)
		if err != nil {
			return err
		}
		defer f.Close()
		size = n
		return l.hash(r.Context(), f, digest, n)
	})
	if err != nil {
		return err
	}
	answer(w, map[string]any{"size": size, "sha256": text(digest)})
	return nil
}

// hash reads the first n bytes of a file into digest.
func (l *lease) hash(ctx context.Context, f io.ReaderAt, digest hash.Hash, n int64) error {
	_, err := io.CopyN(digest, &blocks{file: f, size: n, next: l.alive, ctx: ctx}, n)
	return err
}

func text(digest hash.Hash) string { return hex.EncodeToString(digest.Sum(nil)) }

// blocks reads a file in windows, each of which is many packets at once.
type blocks struct {
	file io.ReaderAt
	size int64
	next func() // called before each
	ctx  context.Context

	at  int64
	buf []byte // what of the window is left
	all []byte // the window
}

// Read implements io.Reader.
func (b *blocks) Read(into []byte) (int, error) {
	if len(b.buf) == 0 {
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(into, b.buf)
	b.buf, b.at = b.buf[n:], b.at+int64(n)
	return n, nil
}

func (b *blocks) fill() error {
	n := min(int64(window), b.size-b.at)
	if n <= 0 {
		return io.EOF
	}
	if b.ctx != nil && b.ctx.Err() != nil {
		return b.ctx.Err()
	}
	b.next()
	if b.all == nil {
		b.all = make([]byte, min(int64(window), b.size))
	}
	got, err := b.file.ReadAt(b.all[:n], b.at)
	b.buf = b.all[:got]
	if got == 0 {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF // it became shorter
		}
		return err
	}
	return nil
}

// Seek implements io.Seeker.
func (b *blocks) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 {
		return 0, errNumber
	}
	if offset != b.at {
		b.at, b.buf = offset, nil
	}
	return offset, nil
}
