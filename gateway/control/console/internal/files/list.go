package files

import (
	"cmp"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Entries of a folder that one answer has.
const (
	defaultLimit = 1000
	maxLimit     = 5000
)

// Kinds of entries.
const (
	kindFile   = "file"
	kindFolder = "folder"
	kindLink   = "link"
	kindOther  = "other" // a device, a pipe
)

// folder is the answer to a listing.
type folder struct {
	Path    string  `json:"path"`
	Ref     string  `json:"ref,omitempty"` // path with every byte, as %XX, where Path is not all of it
	Home    string  `json:"home"`          // where the login begins
	Total   int     `json:"total"`         // entries
	Hidden  int     `json:"hidden"`        // entries whose names no path can have
	Offset  int     `json:"offset"`        // of the first of Entries
	Entries []entry `json:"entries"`
	Largest int64   `json:"largest"` // bytes of a file that may be uploaded
}

// entry is one line of a listing.
type entry struct {
	Name    string    `json:"name"`
	Ref     string    `json:"ref,omitempty"` // as that of a folder
	Kind    string    `json:"kind"`
	Size    int64     `json:"size"` // bytes
	Changed time.Time `json:"changed,omitzero"`
	Mode    string    `json:"mode"` // such as rw-r--r--
}

func (h *Handler) list(d *desk, w http.ResponseWriter, r *http.Request) error {
	offset, err := number(r, "offset", 0, 1<<30)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", defaultLimit, maxLimit)
	if err != nil {
		return err
	}
	answered := folder{Largest: h.cfg.Largest}
	asked := r.URL.Query().Get("path")
	var all []fs.FileInfo
	err = d.glance(r.Context(), func(c *lease) error {
		home, err := d.begins(c)
		if err != nil {
			return err
		}
		answered.Home = show(home)
		if asked == "" {
			asked = home
		}
		if asked, err = parsePath(asked); err != nil {
			return err
		}
		if all, err = c.ReadDirContext(r.Context(), asked); err != nil {
			if is, e := c.Stat(asked); e == nil && !is.IsDir() {
				return errNotFolder
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	answered.Path, answered.Ref = show(asked), ref(asked)
	answered.fill(all, int(offset), int(limit))
	answer(w, answered)
	return nil
}

// begins is the folder where the login begins.
func (d *desk) begins(l *lease) (string, error) {
	d.mu.Lock()
	home := d.home
	d.mu.Unlock()
	if home != "" {
		return home, nil
	}
	home, err := l.Getwd()
	if err == nil {
		d.mu.Lock()
		d.home = home
		d.mu.Unlock()
	}
	return home, err
}

// fill takes a part of what a server says a folder has: folders first, then by name.
func (f *folder) fill(all []fs.FileInfo, offset, limit int) {
	good := slices.DeleteFunc(all, func(i fs.FileInfo) bool { return !goodName(i.Name()) })
	f.Hidden, f.Total, f.Offset = len(all)-len(good), len(good), min(offset, len(good))
	slices.SortFunc(good, func(a, b fs.FileInfo) int {
		if a.IsDir() != b.IsDir() {
			if a.IsDir() {
				return -1
			}
			return 1
		}
		return cmp.Or(strings.Compare(strings.ToLower(a.Name()), strings.ToLower(b.Name())), strings.Compare(a.Name(), b.Name()))
	})
	f.Entries = []entry{}
	for _, i := range good[f.Offset:min(f.Offset+limit, len(good))] {
		f.Entries = append(f.Entries, entry{
			Name: show(i.Name()), Ref: ref(i.Name()), Kind: kind(i.Mode()), Size: max(i.Size(), 0),
			Changed: i.ModTime().UTC(), Mode: i.Mode().Perm().String()[1:],
		})
	}
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return kindFolder
	case m.IsRegular():
		return kindFile
	case m&fs.ModeSymlink != 0:
		return kindLink
	}
	return kindOther
}

// ref is every byte of a path, where it is not UTF-8; else "".
func ref(p string) string {
	if show(p) == p {
		return ""
	}
	parts := strings.Split(p, "/")
	for i, part := range parts {
		parts[i] = extended(part)
	}
	return strings.Join(parts, "/")
}
