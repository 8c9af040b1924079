// Package firstuse remembers what devices showed at first, such as a host key, where they
// signed nothing that it could be compared with.
package firstuse

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Pins are what devices showed at first, a word each. The zero value has none, and lasts as
// long as the process. They are safe for concurrent use.
type Pins struct {
	file string
	mu   sync.Mutex
	of   map[string]string // word by device
}

// Open reads the file, a line "DEVICE WORD" for each, which need not exist; without a name
// the pins last as long as the process. A line that was taken out lets the next word of its
// device be the first.
func Open(file string) (*Pins, error) {
	p := &Pins{file: file, of: make(map[string]string)}
	if file == "" {
		return p, nil
	}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("firstuse: %w", err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		words := strings.Fields(line)
		if len(words) != 2 || p.of[words[0]] != "" {
			return nil, fmt.Errorf("firstuse: %s:%d is no line DEVICE WORD, the only one of its device", file, n)
		}
		p.of[words[0]] = words[1]
	}
	return p, nil
}

// Of is what a device showed at first; "": it has shown nothing yet.
func (p *Pins) Of(device string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of[device]
}

// Meet reports whether a device showed that word at first, too. At first it remembers it,
// and a word that cannot be kept is none that was met.
func (p *Pins) Meet(device, word string) (same bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.of[device]; ok {
		return known == word, nil
	}
	if p.of == nil {
		p.of = make(map[string]string)
	}
	p.of[device] = word
	if err := p.save(); err != nil {
		delete(p.of, device)
		return false, fmt.Errorf("firstuse: %w", err)
	}
	return true, nil
}

// save writes the file whole or not at all; mu is held.
func (p *Pins) save() error {
	if p.file == "" {
		return nil
	}
	var text strings.Builder
	for _, device := range slices.Sorted(maps.Keys(p.of)) {
		fmt.Fprintf(&text, "%s %s\n", device, p.of[device])
	}
	f, err := os.CreateTemp(filepath.Dir(p.file), filepath.Base(p.file)+".*") // readable by its owner only
	if err != nil {
		return err
	}
	_, err = f.WriteString(text.String())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), p.file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
