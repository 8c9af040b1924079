package files

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"time"

	"go.uber.org/zap"
)

// maxUploads bounds those that a desk remembers. One that it forgot goes on all the
// same: what came of it is read back.
const maxUploads = 64

// An upload is a file that is not there yet.
type upload struct {
	total  int64
	offset int64     // bytes that the device has
	sum    hash.Hash // of them
	busy   bool      // a request has it
	used   time.Time
}

// progress is the answer about an upload.
type progress struct {
	Offset int64  `json:"offset"` // bytes that the device has
	Total  int64  `json:"total"`
	Done   bool   `json:"done"`   // the file has its name
	SHA256 string `json:"sha256"` // of the bytes that the device has taken
}

func (u *upload) progress() progress {
	return progress{Offset: u.offset, Total: u.total, SHA256: text(u.sum)}
}

// claim gives an upload to one request. With offset 0 it begins anew.
func (d *desk) claim(target string, offset, total int64) (*upload, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.uploads[target]
	switch {
	case u != nil && u.busy:
		return nil, errBusy
	case offset == 0:
		u = d.remember(target, total)
	case u == nil || u.offset != offset || u.total != total:
		return nil, errOffset
	}
	u.busy = true
	return u, nil
}

// remember makes a new upload, in the place of the oldest where there are many; mu is
// held.
func (d *desk) remember(target string, total int64) *upload {
	if len(d.uploads) >= maxUploads {
		oldest := ""
		for t, u := range d.uploads {
			if !u.busy && (oldest == "" || u.used.Before(d.uploads[oldest].used)) {
				oldest = t
			}
		}
		delete(d.uploads, oldest)
	}
	u := &upload{total: total, sum: sha256.New()}
	d.uploads[target] = u
	return u
}

// release takes an upload back from a request.
func (d *desk) release(target string, u *upload, over bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u.busy, u.used = false, time.Now()
	if over {
		delete(d.uploads, target)
	}
}

// uploadOf reads what all calls about an upload have.
func (h *Handler) uploadOf(r *http.Request) (target string, total int64, err error) {
	if target, err = parseNew(r.URL.Query().Get("path")); err != nil {
		return "", 0, err
	}
	if len(path.Base(target))+len(PartSuffix) > maxName {
		return "", 0, errName
	}
	if total, err = number(r, "total", 0, 1<<62); err != nil {
		return "", 0, err
	}
	if total > h.cfg.Largest {
		return "", 0, errLarge
	}
	return target, total, nil
}

// upload takes a piece of a file.
func (h *Handler) upload(d *desk, w http.ResponseWriter, r *http.Request) error {
	target, total, err := h.uploadOf(r)
	if err != nil {
		return err
	}
	offset, err := number(r, "offset", 0, total)
	if err != nil {
		return err
	}
	u, err := d.claim(target, offset, total)
	if err != nil {
		return err
	}
	over := r.URL.Query().Get("overwrite") != ""
	var done bool
	err = d.transfer(r.Context(), func(l *lease) error {
		if offset == 0 {
			if err := l.free(target, over); err != nil {
				return err
			}
		}
		if err := l.receive(u, target, http.NewResponseController(w), r.Body); err != nil || u.offset < u.total {
			return err
		}
		done = true
		return l.finish(u, target, over)
	})
	now := u.progress()
	d.release(target, u, done && err == nil || err != nil && u.offset == 0)
	if err != nil {
		return err
	}
	if now.Done = done; done {
		h.note(d, "file brought to a device", target, zap.Int64("size", now.Total), zap.String("sha256", now.SHA256))
	}
	answer(w, now)
	return nil
}

// free refuses a target that may not be written.
func (l *lease) free(target string, over bool) error {
	is, err := l.Lstat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case is.IsDir():
		return errIsFolder
	case !over:
		return errExists
	}
	return nil
}

// receive writes what comes to where the upload has come, a window at a time: after a
// break all before offset is there, and nothing behind it counts.
func (l *lease) receive(u *upload, target string, control *http.ResponseController, from io.Reader) error {
	flags := os.O_WRONLY
	if u.offset == 0 {
		switch is, err := l.Lstat(target + PartSuffix); {
		case err == nil && !is.Mode().IsRegular():
			return errExists // a link would lead elsewhere
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		flags |= os.O_CREATE | os.O_TRUNC
	}
	f, err := l.OpenFile(target+PartSuffix, flags)
	if err != nil {
		return err
	}
	defer f.Close()
	defer control.SetReadDeadline(time.Time{})
	buf := make([]byte, min(int64(window), u.total-u.offset+1))
	for {
		control.SetReadDeadline(time.Now().Add(stall / 2))
		n, end := io.ReadFull(from, buf)
		if int64(n) > u.total-u.offset {
			return errNumber // more than there is
		}
		l.alive()
		if n > 0 {
			if _, err := f.WriteAt(buf[:n], u.offset); err != nil {
				return err
			}
			u.sum.Write(buf[:n])
			u.offset += int64(n)
		}
		switch {
		case end == io.EOF || end == io.ErrUnexpectedEOF:
			return nil // of a body that was cut off HTTP says so
		case end != nil:
			return errCut
		}
	}
}

// finish gives an upload that is all there its name.
func (l *lease) finish(u *upload, target string, over bool) error {
	l.alive()
	part := target + PartSuffix
	is, err := l.Lstat(part)
	if err != nil {
		return err
	}
	if is.Size() != u.total {
		return errOffset // somebody else writes there
	}
	if !over {
		if err := l.free(target, false); err != nil {
			return err
		}
		return l.Rename(part, target)
	}
	return l.replace(part, target)
}

// replace renames over what is there, in one step where the server can.
func (l *lease) replace(from, to string) error {
	if _, ok := l.HasExtension("posix-rename@openssh.com"); ok {
		return l.PosixRename(from, to)
	}
	if err := l.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return l.Rename(from, to)
}

// resume says how far an upload has come. One that this console knows nothing of is
// read back, but for what may have been written out of order.
func (h *Handler) resume(d *desk, w http.ResponseWriter, r *http.Request) error {
	target, total, err := h.uploadOf(r)
	if err != nil {
		return err
	}
	d.mu.Lock()
	u := d.uploads[target]
	if u != nil && u.busy {
		d.mu.Unlock()
		return errBusy
	}
	if u != nil && u.total == total {
		now := u.progress()
		d.mu.Unlock()
		answer(w, now)
		return nil
	}
	u = d.remember(target, total)
	u.busy = true
	d.mu.Unlock()
	err = d.transfer(r.Context(), func(l *lease) error {
		is, err := l.Lstat(target + PartSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !is.Mode().IsRegular() || is.Size() > total {
			return err
		}
		sure := max(is.Size()-window, 0)
		f, err := l.OpenFile(target+PartSuffix, os.O_RDONLY)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := l.hash(r.Context(), f, u.sum, sure); err != nil {
			return err
		}
		u.offset = sure
		return nil
	})
	now := u.progress()
	d.release(target, u, u.offset == 0)
	if err != nil {
		return err
	}
	answer(w, now)
	return nil
}

// cancel forgets an upload and removes what came of it.
func (h *Handler) cancel(d *desk, w http.ResponseWriter, r *http.Request) error {
	target, _, err := h.uploadOf(r)
	if err != nil {
		return err
	}
	d.mu.Lock()
	if u := d.uploads[target]; u != nil && u.busy {
		d.mu.Unlock()
		return errBusy
	}
	delete(d.uploads, target)
	d.mu.Unlock()
	err = d.glance(r.Context(), func(l *lease) error {
		is, err := l.Lstat(target + PartSuffix)
		if err != nil || !is.Mode().IsRegular() {
			return err
		}
		return l.Remove(target + PartSuffix)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
