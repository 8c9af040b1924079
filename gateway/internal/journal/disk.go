package journal

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// file is what a Journal needs of an *os.File.
type file interface {
	io.Reader
	io.Writer
	io.WriterAt
	io.Closer
	Sync() error
	Truncate(size int64) error
}

// disk is the file system; tests put in one that is full.
type disk interface {
	open(path string) (file, error)   // one that is there
	create(path string) (file, error) // an empty one
	rename(from, to string) error     // lasting
	remove(path string) error
}

// osDisk is the system's.
type osDisk struct{}

func (osDisk) open(path string) (file, error) { return os.OpenFile(path, os.O_RDWR, 0) }
func (osDisk) create(path string) (file, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
}
func (osDisk) remove(path string) error { return os.Remove(path) }

func (osDisk) rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	// Where a folder cannot be synced, the system orders renames by itself.
	if dir, err := os.Open(filepath.Dir(to)); err == nil {
		_ = dir.Sync()
		dir.Close()
	}
	return nil
}

// full reports whether an error may go by itself when there is room again.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
