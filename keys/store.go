package keys

import (
	"fmt"
	"io/fs"
	"slices"
	"sync"
)

// Store keeps small named pieces of state, private keys among them. Names are
// as ValidID has them. Load of a name that was never saved returns
// fs.ErrNotExist. Save is atomic and durable: after a crash at any moment Load
// returns the former content or the new one. Both may be called concurrently.
type Store interface {
	Load(name string) ([]byte, error)
	Save(name string, data []byte) error
}

// MemStore is a Store that forgets everything with the process: for tests and
// demonstrations.
type MemStore struct {
	mu   sync.Mutex
	data map[string][]byte
}

// NewMemory returns an empty MemStore.
func NewMemory() Store { return &MemStore{data: make(map[string][]byte)} }

// Load implements Store.
func (m *MemStore) Load(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.data[name]
	if !ok {
		return nil, fmt.Errorf("keys: load %s: %w", name, fs.ErrNotExist)
	}
	return slices.Clone(b), nil
}

// Save implements Store.
func (m *MemStore) Save(name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data[name] = slices.Clone(data)
	return nil
}
