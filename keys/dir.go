package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Dir is a Store in one directory of files, which it makes (0700) when it is
// missing. The files are 0600; on Windows they are sealed with DPAPI for the
// account that the process runs under, and only the directory's own access
// list guards them beyond that. Each holds a checksum, by which a file that a
// power cut tore is noticed; the one before it stays beside it as NAME.prev
// and counts in that case.
type Dir string

// Load implements Store.
func (d Dir) Load(name string) ([]byte, error) { return dir{string(d), osFiles{}}.load(name) }

// Save implements Store. Of two at once for one name the later to finish
// counts.
func (d Dir) Save(name string, data []byte) error { return dir{string(d), osFiles{}}.save(name, data) }

// files is what dir needs of a file system; each call either happens or not,
// save for write, which a cut may leave in the middle.
type files interface {
	mkdir(dir string) error                  // durable; none if it is there
	read(path string) ([]byte, error)        // fs.ErrNotExist
	temp(path string) (string, error)        // a new empty file beside path
	write(path string, data []byte) error    // durable when it returns
	rename(from, to string) error            // replaces
	syncDir(dir string) error                // makes renames durable
	remove(path string) error                //
	leftovers(path, besides string) []string // of temp, by a process that died
}

// dir is a Dir over any file system.
type dir struct {
	path string
	fs   files
}

func (d dir) load(name string) ([]byte, error) {
	data, err := d.read(name)
	if err == nil {
		return data, nil
	}
	prev, perr := d.read(name + ".prev")
	if perr == nil {
		return prev, nil
	}
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(perr, fs.ErrNotExist) {
		err = perr
	}
	return nil, fmt.Errorf("keys: load %s: %w", name, err)
}

// read reads one file, whole or not at all.
func (d dir) read(name string) ([]byte, error) {
	if !ValidID(name) {
		return nil, errors.New("not a name")
	}
	b, err := d.fs.read(filepath.Join(d.path, name))
	if err != nil {
		return nil, err
	}
	return unframe(b)
}

func (d dir) save(name string, data []byte) error {
	if err := d.replace(name, data); err != nil {
		return fmt.Errorf("keys: save %s: %w", name, err)
	}
	return nil
}

// replace keeps to an order in which NAME or NAME.prev is whole at every
// moment, once anything was saved:
//
//	write NAME.*.new   -> NAME holds the former
//	NAME  -> NAME.prev -> NAME.prev holds the former, NAME is missing
//	NAME.*.new -> NAME -> NAME holds the new
func (d dir) replace(name string, data []byte) error {
	if !ValidID(name) || !ValidID(name+".prev") {
		return errors.New("not a name")
	}
	framed, err := frame(data)
	if err != nil {
		return err
	}
	if err := d.fs.mkdir(d.path); err != nil {
		return err
	}
	path := filepath.Join(d.path, name)
	temp, err := d.fs.temp(path)
	if err != nil {
		return err
	}
	defer d.fs.remove(temp) // a no-op once it was renamed
	if err := d.fs.write(temp, framed); err != nil {
		return err
	}
	// A torn NAME must not displace the NAME.prev that stands in for it.
	if _, err := d.read(name); err == nil {
		if err := d.fs.rename(path, path+".prev"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := d.fs.syncDir(d.path); err != nil {
			return err
		}
	}
	if err := d.fs.rename(temp, path); err != nil {
		return err
	}
	for _, old := range d.fs.leftovers(path, temp) {
		_ = d.fs.remove(old)
	}
	return d.fs.syncDir(d.path)
}

// A file is one line, "boothwire 1 SEAL SHA-256", and the content.
const frameMagic = "boothwire 1 "

func frame(data []byte) ([]byte, error) {
	body, kind, err := seal(data)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	head := frameMagic + kind + " " + hex.EncodeToString(sum[:]) + "\n"
	return append([]byte(head), body...), nil
}

func unframe(b []byte) ([]byte, error) {
	torn := errors.New("a torn or foreign file")
	head, body, ok := bytes.Cut(b, []byte{'\n'})
	if !ok || !bytes.HasPrefix(head, []byte(frameMagic)) {
		return nil, torn
	}
	kind, sum, _ := bytes.Cut(head[len(frameMagic):], []byte{' '})
	want := sha256.Sum256(body)
	if string(sum) != hex.EncodeToString(want[:]) {
		return nil, torn
	}
	return unseal(body, string(kind))
}
