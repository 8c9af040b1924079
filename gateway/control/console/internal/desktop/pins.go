package desktop

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Pins remember the certificate of each device that had none signed when its RDP
// server was first seen. They are safe for concurrent use.
type Pins struct {
	file string
	mu   sync.Mutex
	of   map[string]string // device: SHA-256 in hex
}

// OpenPins reads the file, which need not exist; without a name the pins last as long
// as the process.
func OpenPins(file string) (*Pins, error) {
	p := &Pins{file: file, of: make(map[string]string)}
	if file == "" {
		return p, nil
	}
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p, nil
	case err != nil:
		return nil, fmt.Errorf("desktop: read the pins: %w", err)
	}
	if err := json.Unmarshal(b, &p.of); err != nil {
		return nil, fmt.Errorf("desktop: the pins in %s: %w", file, err)
	}
	for device, sum := range p.of {
		if b, err := hex.DecodeString(sum); err != nil || len(b) != 32 {
			return nil, fmt.Errorf("desktop: the pins in %s: %q has no SHA-256", file, device)
		}
	}
	return p, nil
}

// meet reports whether the device had that certificate, in hex, at first too; at first
// it remembers.
func (p *Pins) meet(device, sum string) (same bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known, ok := p.of[device]; ok {
		return known == sum, nil
	}
	p.of[device] = sum
	if err := p.save(); err != nil {
		delete(p.of, device)
		return false, err
	}
	return true, nil
}

// Forget lets the next certificate of a device be its first.
func (p *Pins) Forget(device string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.of[device]
	if !ok {
		return nil
	}
	delete(p.of, device)
	if err := p.save(); err != nil {
		p.of[device] = known
		return err
	}
	return nil
}

// save writes the file whole or not at all; mu is held.
func (p *Pins) save() error {
	if p.file == "" {
		return nil
	}
	b, err := json.Marshal(p.of)
	if err != nil {
		return fmt.Errorf("desktop: write the pins: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(p.file), filepath.Base(p.file)+".*") // readable by its owner only
	if err != nil {
		return fmt.Errorf("desktop: write the pins: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), p.file)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("desktop: write the pins: %w", err)
	}
	return nil
}
