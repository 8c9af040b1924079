package sshconn

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
)

// How a host key came to be accepted.
const (
	Signed     = "signed"     // the device signed its hash
	Remembered = "remembered" // it is the one that the device showed first
	FirstUse   = "first_use"  // it was shown for the first time, and is remembered from now on
)

// Pins says which host key a device may show. It is safe for concurrent use.
type Pins struct {
	first bool
	path  string

	mu   sync.Mutex
	seen map[string]string // device to hash
}

// NewPins returns pins that accept what devices signed. With firstUse the first key of
// a device that signed none is accepted too, and no other one after it; the file at
// path remembers it, a line for each device, and with path "" this process does.
func NewPins(firstUse bool, path string) (*Pins, error) {
	p := &Pins{first: firstUse, path: path, seen: make(map[string]string)}
	if !firstUse || path == "" {
		return p, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sshconn: remembered host keys: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		device, hash, ok := strings.Cut(lines.Text(), " ")
		if !ok || device == "" || !strings.HasPrefix(hash, "SHA256:") {
			return nil, fmt.Errorf("sshconn: remembered host keys: %s:%d is no line of DEVICE SHA256:HASH", path, n)
		}
		p.seen[device] = hash
	}
	return p, lines.Err()
}

// want returns the hash that the device's key must have; "" with FirstUse: any.
func (p *Pins) want(device, signed string) (hash, how string, err error) {
	if signed != "" {
		return signed, Signed, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch seen := p.seen[device]; {
	case !p.first:
		return "", "", &Error{Code: CodeUnsigned}
	case seen != "":
		return seen, Remembered, nil
	}
	return "", FirstUse, nil
}

// remember notes the first key of a device. Of two that come at once one is the first.
func (p *Pins) remember(device, hash string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seen := p.seen[device]; seen != "" {
		if seen != hash {
			return &Error{Code: CodeMismatch}
		}
		return nil
	}
	if p.path != "" {
		if err := appendLine(p.path, device+" "+hash+"\n"); err != nil {
			return fmt.Errorf("sshconn: remember a host key: %w", err)
		}
	}
	p.seen[device] = hash
	return nil
}

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	if e := f.Sync(); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
