package journal

import (
	"bufio"
	"fmt"
	"maps"
)

// rewrite makes the file anew, of live lines only, beside the old one, and puts it in
// its place. Keys may be set meanwhile: they go to the old file, and in the end to the
// new one too.
func (j *Journal) rewrite() error {
	j.mu.Lock()
	old := maps.Clone(j.live)
	j.mu.Unlock()
	beside := j.path + ".new"
	f, err := j.disk.create(beside)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	places, size, err := write(f, old)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		j.mu.Lock()
		err = j.replace(f, beside, old, places, size)
		j.mu.Unlock()
	}
	if err != nil {
		f.Close()
		_ = j.disk.remove(beside)
		return fmt.Errorf("journal: write anew: %w", err)
	}
	return nil
}

// write writes lines from the beginning of a file, and says where each is.
func write(f file, lines map[string]slot) (places map[string]int64, size int64, err error) {
	places = make(map[string]int64, len(lines))
	w := bufio.NewWriterSize(f, 64<<10)
	w.WriteString(header)
	size = int64(len(header))
	for key, s := range lines {
		places[key] = size
		w.WriteString(s.line)
		size += int64(len(s.line))
	}
	return places, size, w.Flush()
}

// replace adds to the new file what changed since old was taken, and puts it in the
// place of the one before; j.mu is held. When it fails, that one stays in use.
func (j *Journal) replace(f file, beside string, old map[string]slot, places map[string]int64, size int64) error {
	var more []byte
	for key, s := range j.live {
		if o, ok := old[key]; !ok || o.line != s.line {
			places[key] = size + int64(len(more))
			more = append(more, s.line...)
		}
	}
	for key := range old {
		if _, ok := j.live[key]; !ok {
			more = append(more, format(key, nil)...)
		}
	}
	if _, err := f.WriteAt(more, size); err != nil {
		return err
	}
	if err := j.disk.rename(beside, j.path); err != nil {
		return err
	}
	if j.file != nil {
		j.file.Close()
	}
	j.file, j.size = f, size+int64(len(more))
	for key, s := range j.live {
		j.live[key] = slot{s.line, places[key]}
	}
	clear(j.late)
	j.dirty = j.dirty || len(more) > 0
	j.caught()
	return nil
}
