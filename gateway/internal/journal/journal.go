package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"sync"
	"time"

	"go.uber.org/zap"
)

// pause is between what the journal does in the background: a sync, another try at
// a full disk, or making the file anew.
const pause = time.Second

// spare is how many dead bytes a file may have beyond as many as are live.
const spare = 1 << 20

// Journal is one file. It is safe for concurrent use by one process. A key that was
// set is in the system's hands when Set returns, so that a kill of the process loses
// nothing; a loss of power may lose the last seconds. While the disk is full the
// journal goes on in memory, strikes out in the file what is no longer true, and
// writes the rest when there is room.
type Journal struct {
	path string
	disk disk
	log  *zap.Logger
	wake chan struct{} // of one: there is something to do in the background
	done chan struct{}
	loop sync.WaitGroup

	mu     sync.Mutex
	file   file  // nil: none could be made yet
	size   int64 // of its lines
	live   map[string]slot
	weight int64             // bytes of the live lines
	late   map[string]string // lines that are not in the file yet, by key
	fault  error             // why; nil: all is in the file
	errors uint64
	dirty  bool // written since the last sync
	closed bool
}

// Stats are a journal's figures.
type Stats struct {
	Keys   int
	Size   int64  // of the file, bytes
	Errors uint64 // writes that failed
	Fault  error  // why the file is behind; nil: it is not
}

// Open reads the file at path, or makes it with mode 0600; its folder must be there.
// It fails when the file is no journal, or cannot be read or made for another reason
// than want of room. Close ends its life.
func Open(path string, log *zap.Logger) (*Journal, error) { return open(path, osDisk{}, log) }

func open(path string, d disk, log *zap.Logger) (*Journal, error) {
	j := &Journal{
		path: path, disk: d, log: log.With(zap.String("journal", path)),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		live: make(map[string]slot), late: make(map[string]string),
	}
	damaged, err := j.load()
	if err != nil {
		return nil, err
	}
	if damaged > 0 {
		j.log.Warn("lines of the journal are damaged", zap.Int("lines", damaged))
	}
	if j.file == nil || damaged > 0 || j.size > 2*j.weight+spare {
		err := j.rewrite()
		switch {
		case err == nil:
		case !full(err):
			_ = j.drop()
			return nil, err
		case j.file == nil:
			j.failed(err)
			j.poke()
		}
	}
	j.loop.Go(j.run)
	return j, nil
}

// load takes over what is there.
func (j *Journal) load() (damaged int, err error) {
	f, err := j.disk.open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	c, err := read(f)
	if err != nil {
		f.Close()
		return 0, fmt.Errorf("%s: %w", j.path, err)
	}
	if c.size == 0 { // empty
		f.Close()
		return 0, nil
	}
	if c.damaged > 0 {
		_ = f.Truncate(c.size) // a line that was torn
	}
	j.file, j.size, j.live = f, c.size, c.live
	for _, s := range c.live {
		j.weight += int64(len(s.line))
	}
	return c.damaged, nil
}

// All yields the keys and their values, in no order. It must not run beside Set.
func (j *Journal) All() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, s := range j.live {
			key, value, _ := parse([]byte(s.line[:len(s.line)-1]))
			if !yield(key, value) {
				return
			}
		}
	}
}

// Set writes a key's value. A key is 1 to MaxKey printable characters without a
// space; a value beyond MaxValue bytes or with a line feed is not kept, nor is the
// one before it.
func (j *Journal) Set(key string, value []byte) {
	if value == nil {
		value = []byte{}
	}
	if len(value) > MaxValue || bytes.IndexByte(value, '\n') >= 0 {
		j.log.Error("a value is not kept", zap.String("key", key), zap.Int("bytes", len(value)))
		value = nil
	}
	j.put(key, value)
}

// Delete takes a key's value away.
func (j *Journal) Delete(key string) { j.put(key, nil) }

func (j *Journal) put(key string, value []byte) {
	if !validKey([]byte(key)) {
		j.log.Error("not a key", zap.String("key", key))
		return
	}
	line := format(key, value)
	j.mu.Lock()
	defer j.mu.Unlock()
	old, had := j.live[key]
	if j.closed || value == nil && !had {
		return
	}
	j.weight -= int64(len(old.line))
	if value == nil {
		delete(j.live, key)
	} else {
		j.live[key] = slot{line, -1}
		j.weight += int64(len(line))
	}
	err := j.fault
	if err == nil {
		if err = j.append(key, line); err != nil {
			j.failed(err)
		}
	}
	if err != nil {
		j.late[key] = line
		if struck := !had || j.strike(old); struck && value == nil {
			delete(j.late, key)
		}
	}
	j.poke()
}

// append writes a key's line at the end of the file; j.mu is held.
func (j *Journal) append(key, line string) error {
	if _, err := j.file.WriteAt([]byte(line), j.size); err != nil {
		_ = j.file.Truncate(j.size) // the next line goes to the same place in any case
		return err
	}
	if s, ok := j.live[key]; ok && s.line == line {
		j.live[key] = slot{line, j.size}
	}
	j.size += int64(len(line))
	j.dirty = true
	return nil
}

// strike makes a line count for nothing, which needs no room: what cannot be written
// must not be taken back by what it replaces. It reports whether it does.
func (j *Journal) strike(old slot) bool {
	if old.at < 0 || j.file == nil {
		return true
	}
	if _, err := j.file.WriteAt([]byte{struckOut}, old.at); err != nil {
		j.errors++
		return false
	}
	j.dirty = true
	return true
}

// failed notes that the file is behind; j.mu is held, or nobody else is there.
func (j *Journal) failed(err error) {
	j.errors++
	if j.fault == nil {
		j.log.Error("the journal is kept in memory only", zap.Error(err))
	}
	j.fault = err
}

// poke has run look; it never blocks.
func (j *Journal) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Stats returns the figures of now.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Stats{Keys: len(j.live), Size: j.size, Errors: j.errors, Fault: j.fault}
}

// Close writes what is late, if there is room, and closes the file. It is idempotent;
// what is set afterwards is dropped.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	close(j.done)
	j.loop.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fault != nil && j.file != nil {
		j.catchUp()
	}
	return errors.Join(j.fault, j.drop())
}

// drop closes the file.
func (j *Journal) drop() error {
	if j.file == nil {
		return nil
	}
	return errors.Join(j.file.Sync(), j.file.Close())
}
