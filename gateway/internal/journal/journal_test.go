package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/boothwire/boothwire/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// limited is a disk with room for so many bytes.
type limited struct {
	osDisk
	mu   sync.Mutex
	room int64
}

func (d *limited) set(room int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = room
}

func (d *limited) open(path string) (file, error)   { return d.limit(d.osDisk.open(path)) }
func (d *limited) create(path string) (file, error) { return d.limit(d.osDisk.create(path)) }
func (d *limited) limit(f file, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return &limitedFile{f.(*os.File), d}, nil
}

type limitedFile struct {
	*os.File
	disk *limited
}

// grow reserves what a write needs, and says how much of it there is.
func (f *limitedFile) grow(at int64, n int) (int, error) {
	i, err := f.Stat()
	if err != nil {
		return 0, err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	need := max(at+int64(n)-i.Size(), 0)
	if need <= f.disk.room {
		f.disk.room -= need
		return n, nil
	}
	n -= int(need - f.disk.room)
	f.disk.room = 0
	return n, syscall.ENOSPC
}

func (f *limitedFile) WriteAt(b []byte, at int64) (int, error) {
	n, full := f.grow(at, len(b))
	n, err := f.File.WriteAt(b[:max(n, 0)], at)
	return n, errors.Join(err, full)
}

func (f *limitedFile) Write(b []byte) (int, error) {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	n, full := f.grow(at, len(b))
	n, err = f.File.Write(b[:max(n, 0)])
	return n, errors.Join(err, full)
}

func must(t testing.TB, path string, d disk) *Journal {
	t.Helper()
	j, err := open(path, d, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func all(j *Journal) map[string]string {
	m := make(map[string]string)
	for k, v := range j.All() {
		m[k] = string(v)
	}
	return m
}

// killed is what a journal says that opens what is in the file at this moment.
func killed(t testing.TB, path string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "j")
	if err := os.WriteFile(other, b, 0o600); err != nil {
		t.Fatal(err)
	}
	j := must(t, other, osDisk{})
	defer j.Close()
	return all(j)
}

func wantAll(t testing.TB, when string, got, want map[string]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Fatalf("%s: %v, want %v", when, got, want)
	}
}

func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := must(t, path, osDisk{})
	j.Set("a", []byte("1"))
	j.Set("b", []byte(`{"x": "two words"}`))
	j.Set("c", nil)
	j.Set("a", []byte("3"))
	j.Delete("c")
	j.Delete("never there")
	j.Set("no key", []byte("1"))
	j.Set("d", []byte("1"))
	j.Set("d", []byte("1\n2")) // not kept, nor what was before
	want := map[string]string{"a": "3", "b": `{"x": "two words"}`}
	wantAll(t, "killed", killed(t, path), want)
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", i.Mode(), err)
	}
	if err := errors.Join(j.Close(), j.Close()); err != nil {
		t.Error(err)
	}
	j.Set("late", []byte("1"))
	wantAll(t, "closed", killed(t, path), want)
}

// Whatever is cut off or spoilt costs the lines that it hits.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	j := must(t, path, osDisk{})
	for i := range 4 {
		j.Set(fmt.Sprint("k", i), []byte("value"))
	}
	j.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line := (len(whole) - len(header)) / 4
	long := append(bytes.Repeat([]byte("x"), 3*maxLine), '\n')
	at := func(n int) int { return len(header) + n*line }
	for name, tc := range map[string]struct {
		file []byte
		want string
	}{
		"torn":               {whole[:len(whole)-3], "k0 k1 k2"},
		"no line feed":       {whole[:len(whole)-1], "k0 k1 k2"},
		"a bit in the value": {append(bytes.Clone(whole[:at(2)-2]), append([]byte("!\n"), whole[at(2):]...)...), "k0 k2 k3"},
		"zeros at the end":   {append(bytes.Clone(whole), make([]byte, 100)...), "k0 k1 k2 k3"},
		"a long line":        {append(append(bytes.Clone(whole[:at(1)]), long...), whole[at(1):]...), "k0 k1 k2 k3"},
		"a long torn line":   {append(bytes.Clone(whole[:at(2)]), long[:len(long)-1]...), "k0 k1"},
		"an empty line":      {append(append(bytes.Clone(whole[:at(1)]), '\n'), whole[at(1):]...), "k0 k1 k2 k3"},
		"only the header":    {whole[:len(header)], ""},
		"empty":              {nil, ""},
	} {
		if err := os.WriteFile(path, tc.file, 0o600); err != nil {
			t.Fatal(err)
		}
		j := must(t, path, osDisk{})
		want := map[string]string{}
		for _, k := range strings.Fields(tc.want) {
			want[k] = "value"
		}
		wantAll(t, name, all(j), want)
		j.Set("new", []byte("1"))
		want["new"] = "1"
		wantAll(t, name+", then written", killed(t, path), want)
		j.Close()
	}
	for name, file := range map[string]string{
		"another file": "[Unit]\nDescription=x\n", "a later form": "boothwire journal 2\n", "a torn header": header[:5],
	} {
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		if j, err := open(path, osDisk{}, zap.NewNop()); !errors.Is(err, errForeign) {
			t.Errorf("%s: %v, %v", name, j, err)
		}
		if b, _ := os.ReadFile(path); string(b) != file {
			t.Errorf("%s was written over", name)
		}
	}
	if _, err := open(filepath.Join(dir, "none", "journal"), osDisk{}, zap.NewNop()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in no folder: %v", err)
	}
}

// At every moment the file says what the journal says, however often it is made anew.
func TestRewrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := must(t, path, osDisk{})
	want := make(map[string]string)
	random := rand.New(rand.NewPCG(1, 2))
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := j.rewrite(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for i := range 2000 {
		key := fmt.Sprint("k", random.IntN(50))
		if random.IntN(4) == 0 {
			j.Delete(key)
			delete(want, key)
		} else {
			j.Set(key, fmt.Append(nil, i))
			want[key] = fmt.Sprint(i)
		}
		if i%400 == 0 {
			j.mu.Lock() // else what is read may be the file of before
			got := killed(t, path)
			j.mu.Unlock()
			wantAll(t, "meanwhile", got, want)
		}
	}
	close(stop)
	work.Wait()
	wantAll(t, "in the end", killed(t, path), want)
	if err := j.rewrite(); err != nil {
		t.Fatal(err)
	}
	if s := j.Stats(); s.Size != int64(len(header))+j.weight || s.Keys != len(want) {
		t.Errorf("%+v with %d live bytes", s, j.weight)
	}
	j.Close()
	wantAll(t, "opened again", all(must(t, path, osDisk{})), want)
	if left, err := filepath.Glob(path + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// A file that is mostly dead is made anew, at the start and while it grows.
func TestMostlyDead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := must(t, path, osDisk{})
	grow := func() {
		for range 30 {
			j.Set("k", bytes.Repeat([]byte("x"), MaxValue/2))
		}
	}
	grow()
	eventually(t, "the file is small again", func() bool { return j.Stats().Size < spare })
	grow()
	j.Close()
	j = must(t, path, osDisk{})
	if s := j.Stats(); s.Size > spare || s.Keys != 1 {
		t.Errorf("at the start: %+v", s)
	}
}

// On a full disk nothing that is no longer true comes back, and all is written when
// there is room.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	core, logs := observer.New(zap.ErrorLevel)
	d := &limited{room: 200}
	j, err := open(path, d, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, k := range []string{"stays", "changes", "goes"} {
		j.Set(k, []byte("before"))
	}
	d.set(5) // a line is torn
	j.Set("changes", []byte("after"))
	j.Delete("goes")
	j.Set("new", []byte("1"))
	j.Set("new-and-gone", []byte("1"))
	j.Delete("new-and-gone")
	wantAll(t, "full", killed(t, path), map[string]string{"stays": "before"})
	want := map[string]string{"stays": "before", "changes": "after", "new": "1"}
	wantAll(t, "in memory", all(j), want)
	if s := j.Stats(); s.Fault == nil || s.Errors == 0 || logs.Len() != 1 {
		t.Errorf("%+v, logged %d times", s, logs.Len())
	}
	d.set(1 << 20)
	eventually(t, "it is written", func() bool { return j.Stats().Fault == nil })
	wantAll(t, "with room", killed(t, path), want)
	if logs.Len() != 1 {
		t.Errorf("logged %d times", logs.Len())
	}
	// A disk without any room does not keep a node from starting.
	other := filepath.Join(t.TempDir(), "journal")
	d.set(0)
	none, err := open(other, d, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	none.Set("k", []byte("v"))
	if s := none.Stats(); s.Fault == nil || s.Keys != 1 {
		t.Errorf("%+v", s)
	}
	d.set(1 << 20)
	eventually(t, "it is made", func() bool { return none.Stats().Fault == nil })
	wantAll(t, "made late", killed(t, other), map[string]string{"k": "v"})
	// Nor does a journal that would be made anew if there were room.
	none.Close()
	d.set(0)
	if err := os.WriteFile(other, append([]byte(header+format("k", []byte("v"))), "torn"...), 0o600); err != nil {
		t.Fatal(err)
	}
	again := must(t, other, d)
	wantAll(t, "opened without room", all(again), map[string]string{"k": "v"})
	d.set(1 << 20)
	again.Set("l", []byte("w"))
	wantAll(t, "written after it", killed(t, other), map[string]string{"k": "v", "l": "w"})
}

// eventually waits far longer than anything here takes.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not in 30 s: %s", what)
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(header + format("a", []byte("1")) + format("b", []byte("2")) + format("a", nil)))
	f.Add([]byte(header + "#" + format("a", []byte("1"))))
	f.Add([]byte(header + "00000000 a b\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := read(bytes.NewReader(b))
		if err != nil {
			return
		}
		if c.size > int64(len(b)) {
			t.Fatalf("%d bytes of %d", c.size, len(b))
		}
		var again bytes.Buffer
		again.WriteString(header)
		for key, s := range c.live {
			k, v, err := parse([]byte(s.line[:len(s.line)-1]))
			if err != nil || k != key || v == nil || format(k, v) != s.line || !bytes.HasPrefix(b[s.at:], []byte(s.line)) {
				t.Fatalf("%q at %d: %q, %q, %v", s.line, s.at, k, v, err)
			}
			again.WriteString(s.line)
		}
		d, err := read(&again)
		if err != nil || len(d.live) != len(c.live) || d.damaged != 0 {
			t.Fatalf("read again: %d of %d, %v", len(d.live), len(c.live), err)
		}
	})
}
