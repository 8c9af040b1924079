package kernelvm

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// archive writes a cpio archive of the kind that a kernel unpacks at its start
// ("newc": Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	w    io.Writer
	seen map[string]bool // folders
	n    int             // of entries, their inode
	size int64
	err  error
}

const (
	modeDir  = 0o040755
	modeFile = 0o100644
	modeProg = 0o100755
	modeChar = 0o020600
)

func newArchive(w io.Writer) *archive { return &archive{w: w, seen: make(map[string]bool)} }

// file adds a file with the folders above it.
func (a *archive) file(name string, program bool, content []byte) {
	mode := modeFile
	if program {
		mode = modeProg
	}
	a.entry(name, mode, content, 0, 0)
}

// console adds the device that a kernel opens for its first process.
func (a *archive) console() { a.entry("dev/console", modeChar, nil, 5, 1) }

// dir adds a folder with those above it.
func (a *archive) dir(name string) {
	if name == "." || a.seen[name] {
		return
	}
	a.seen[name] = true
	a.dir(path.Dir(name))
	a.write(name, modeDir, nil, 0, 0)
}

func (a *archive) entry(name string, mode int, content []byte, major, minor int) {
	name = strings.TrimPrefix(name, "/")
	if a.err == nil && !fs.ValidPath(name) {
		a.err = fmt.Errorf("kernelvm: %q is no name in an archive", name)
	}
	a.dir(path.Dir(name))
	a.write(name, mode, content, major, minor)
}

func (a *archive) write(name string, mode int, content []byte, major, minor int) {
	a.n++
	links := 1
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.n, mode, 0, 0, links, 0, len(content), 0, 0, major, minor, len(name)+1, 0)
	a.bytes([]byte(header + name + "\x00"))
	a.pad()
	a.bytes(content)
	a.pad()
}

func (a *archive) bytes(b []byte) {
	if a.err != nil {
		return
	}
	n, err := a.w.Write(b)
	a.size += int64(n)
	a.err = err
}

func (a *archive) pad() { a.bytes(make([]byte, -a.size&3)) }

// close ends the archive.
func (a *archive) close() error {
	a.write("TRAILER!!!", 0, nil, 0, 0)
	return a.err
}
