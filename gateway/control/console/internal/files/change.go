package files

import (
	"errors"
	"io/fs"
	"net/http"

	"go.uber.org/zap"
)

func (h *Handler) mkdir(d *desk, w http.ResponseWriter, r *http.Request) error {
	p, err := parseNew(r.URL.Query().Get("path"))
	if err != nil {
		return err
	}
	err = d.glance(r.Context(), func(l *lease) error {
		if _, err := l.Lstat(p); !errors.Is(err, fs.ErrNotExist) {
			return first(err, errExists)
		}
		return l.Mkdir(p)
	})
	if err == nil {
		h.note(d, "folder made on a device", p)
	}
	return done(w, err)
}

func (h *Handler) rename(d *desk, w http.ResponseWriter, r *http.Request) error {
	from, err := parsePath(r.URL.Query().Get("path"))
	if err != nil {
		return err
	}
	to, err := parseNew(r.URL.Query().Get("to"))
	if err != nil {
		return err
	}
	over := r.URL.Query().Get("overwrite") != ""
	err = d.glance(r.Context(), func(l *lease) error {
		if _, err := l.Lstat(from); err != nil {
			return err
		}
		if err := l.free(to, over); err != nil {
			return err
		}
		if over {
			return l.replace(from, to)
		}
		return l.Rename(from, to)
	})
	if err == nil {
		h.note(d, "file renamed on a device", from, zap.String("to", show(to)))
	}
	return done(w, err)
}

// remove removes a file, a link itself, or a folder with nothing in it.
func (h *Handler) remove(d *desk, w http.ResponseWriter, r *http.Request) error {
	p, err := parsePath(r.URL.Query().Get("path"))
	if err != nil {
		return err
	}
	err = d.glance(r.Context(), func(l *lease) error {
		is, err := l.Lstat(p)
		if err != nil {
			return err
		}
		if !is.IsDir() {
			return l.Remove(p)
		}
		if err = l.RemoveDirectory(p); err != nil {
			if all, e := l.ReadDirContext(r.Context(), p); e == nil && len(all) > 0 {
				return errNotEmpty
			}
		}
		return err
	})
	if err == nil {
		h.note(d, "file removed from a device", p)
	}
	return done(w, err)
}

// first is err, or instead where there is none.
func first(err, instead error) error {
	if err != nil {
		return err
	}
	return instead
}

func done(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
