package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var errCut = errors.New("the power went")

// disk is a file system whose power can be cut: before any step, after any
// byte of a write, and with any number of renames not yet made durable lost.
type disk struct {
	files   map[string][]byte
	durable []map[string][]byte // what a cut may leave: the names now, or at any rename since the last syncDir
	left    int                 // units of work until the cut; negative: none
	n       int
}

func newDisk() *disk {
	d := &disk{files: map[string][]byte{}, left: -1}
	d.settle()
	return d
}

func (d *disk) settle() { d.durable = []map[string][]byte{maps.Clone(d.files)} }

// step spends one unit of work.
func (d *disk) step() error {
	if d.left == 0 {
		return errCut
	}
	d.left--
	return nil
}

func (d *disk) mkdir(string) error { return d.step() }

func (d *disk) read(path string) ([]byte, error) {
	b, ok := d.files[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(b), nil
}

func (d *disk) temp(path string) (string, error) {
	if err := d.step(); err != nil {
		return "", err
	}
	d.n++
	p := fmt.Sprintf("%s.%d.new", path, d.n)
	d.put(p, nil)
	return p, nil
}

// put changes a file's content, which all images of the names share.
func (d *disk) put(path string, data []byte) {
	d.files[path] = data
	for _, img := range d.durable {
		img[path] = data
	}
}

func (d *disk) write(path string, data []byte) error {
	for i := range data {
		d.put(path, data[:i])
		if err := d.step(); err != nil {
			return err
		}
	}
	d.put(path, slices.Clone(data))
	return d.step()
}

func (d *disk) rename(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	b, ok := d.files[from]
	if !ok {
		return fs.ErrNotExist
	}
	delete(d.files, from)
	d.files[to] = b
	d.durable = append(d.durable, maps.Clone(d.files))
	return nil
}

func (d *disk) syncDir(string) error {
	if err := d.step(); err != nil {
		return err
	}
	d.settle()
	return nil
}

func (d *disk) remove(path string) error {
	if err := d.step(); err != nil {
		return err
	}
	delete(d.files, path)
	return nil
}

func (d *disk) leftovers(path, besides string) (old []string) {
	for p := range d.files {
		if strings.HasPrefix(p, path+".") && strings.HasSuffix(p, ".new") && p != besides {
			old = append(old, p)
		}
	}
	return old
}

// TestCutAnywhere saves over former content with the power cut at every step
// and every byte, and loads from everything that the disk may hold then: the
// former content or the new, never anything else.
func TestCutAnywhere(t *testing.T) {
	contents := [][]byte{[]byte("first"), []byte("the second, which is longer"), []byte("third")}
	before := func(torn string) *disk {
		dk := newDisk()
		s := dir{"/d", dk}
		for _, c := range contents[:2] {
			if err := s.save("x", c); err != nil {
				t.Fatal(err)
			}
		}
		switch torn {
		case "NAME":
			dk.files["/d/x"] = dk.files["/d/x"][:20]
		case "NAME.prev":
			dk.files["/d/x.prev"] = nil
		case "NAME missing":
			delete(dk.files, "/d/x")
		}
		dk.settle()
		return dk
	}
	for _, torn := range []string{"", "NAME", "NAME.prev", "NAME missing"} {
		former, err := dir{"/d", before(torn)}.load("x")
		if err != nil {
			t.Fatal(torn, err)
		}
		cuts, sawNew, sawFormer := 0, 0, 0
		for at := 0; ; at++ {
			dk := before(torn)
			dk.left = at
			err := dir{"/d", dk}.save("x", contents[2])
			images := append(dk.durable, dk.files)
			for _, img := range images {
				after := &disk{files: maps.Clone(img), left: -1}
				after.settle()
				got, lerr := dir{"/d", after}.load("x")
				switch {
				case lerr != nil:
					t.Fatalf("torn %q, cut at %d: nothing: %v", torn, at, lerr)
				case bytes.Equal(got, contents[2]):
					sawNew++
				case bytes.Equal(got, former):
					if sawFormer++; err == nil {
						t.Fatalf("torn %q, cut at %d: Save said done, Load returns the former", torn, at)
					}
				default:
					t.Fatalf("torn %q, cut at %d: garbage %q", torn, at, got)
				}
				// What a cut left must not be in the way of the next Save.
				if err := (dir{"/d", after}).save("x", []byte("next")); err != nil {
					t.Fatal(err)
				}
				if got, err := (dir{"/d", after}).load("x"); err != nil || string(got) != "next" {
					t.Fatalf("torn %q, cut at %d: after the next Save: %q %v", torn, at, got, err)
				}
				if left := after.leftovers("/d/x", ""); len(left) > 0 {
					t.Fatalf("torn %q, cut at %d: %v stay", torn, at, left)
				}
			}
			if cuts++; err == nil && dk.left > 0 {
				break
			}
		}
		if cuts < 80 || sawNew == 0 || sawFormer == 0 {
			t.Fatalf("torn %q: %d cuts, %d new, %d former: this test cannot fail", torn, cuts, sawNew, sawFormer)
		}
	}
}

// TestCutFirst: a cut in the very first Save leaves nothing, or all.
func TestCutFirst(t *testing.T) {
	for at := 0; ; at++ {
		dk := newDisk()
		dk.left = at
		err := dir{"/d", dk}.save("x", []byte("first"))
		for _, img := range append(dk.durable, dk.files) {
			got, lerr := dir{"/d", &disk{files: img}}.load("x")
			if !(errors.Is(lerr, fs.ErrNotExist) && err != nil) && string(got) != "first" {
				t.Fatalf("cut at %d: %q %v", at, got, lerr)
			}
		}
		if err == nil && dk.left > 0 {
			return
		}
	}
}

func TestDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "state")
	d := Dir(path)
	if _, err := d.Load("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v, want fs.ErrNotExist", err)
	}
	for _, content := range []string{"one", "", "two\nlines\x00", strings.Repeat("z", 1<<16)} {
		if err := d.Save("x", []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Load("x"); err != nil || string(got) != content {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if runtime.GOOS != "windows" {
		for p, want := range map[string]fs.FileMode{path: 0o700, path + "/x": 0o600, path + "/x.prev": 0o600} {
			if fi, err := os.Stat(p); err != nil || fi.Mode().Perm() != want {
				t.Errorf("%s: %v %v", p, fi.Mode(), err)
			}
		}
	}
	for _, bad := range []string{"", "a/b", "../x", strings.Repeat("x", 60)} {
		if d.Save(bad, nil) == nil {
			t.Errorf("saved as %q", bad)
		}
	}
	// Every cut and every changed byte of NAME is noticed.
	if err := d.Save("y", []byte("former")); err != nil {
		t.Fatal(err)
	}
	if err := d.Save("y", []byte("latest")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(path, "y")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		flipped := slices.Clone(whole)
		flipped[i] ^= 0x20
		for _, b := range [][]byte{whole[:i], flipped, append(slices.Clone(whole), whole[i])} {
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := d.Load("y"); err != nil || string(got) != "former" {
				t.Fatalf("byte %d: %q %v", i, got, err)
			}
		}
	}
	if err := os.Remove(file + ".prev"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Load("y"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a torn file alone: %v", err)
	}
}

// TestLeftovers: the temporary file of a process that died goes at a later
// Save, that of one at work stays.
func TestLeftovers(t *testing.T) {
	d := Dir(t.TempDir())
	old, fresh := filepath.Join(string(d), "x.1.new"), filepath.Join(string(d), "x.2.new")
	for _, p := range []string{old, fresh} {
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := d.Save("x", []byte("1")); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(string(d))
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"x", "x.2.new"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

// TestDirConcurrency: of many at once each Load sees one whole content.
func TestDirConcurrency(t *testing.T) {
	d := Dir(t.TempDir())
	if err := d.Save("x", bytes.Repeat([]byte{'0'}, 5000)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				if err := d.Save("x", bytes.Repeat([]byte{byte('1' + i)}, 5000)); err != nil {
					t.Error(err)
				}
				got, err := d.Load("x")
				if err != nil || len(got) != 5000 || len(bytes.Trim(got, string(got[:1]))) != 0 {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
}
