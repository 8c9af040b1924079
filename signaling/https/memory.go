package https

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/boothwire/boothwire/keys"
)

const (
	// A command waits two minutes: the longest pause of a device between two polls is one.
	memoryAge = 2 * time.Minute
	// Sixteen of 8 KiB: who sends more to one device within memoryAge is told ErrQueueFull.
	memoryDepth = 16
)

// Memory is a Queue in memory, for tests and for deployments of one process that may
// forget undelivered commands at a restart. A command waits at most 2 minutes, at most 16
// wait for one device. Safe for concurrent use.
type Memory struct {
	epoch string

	mu      sync.Mutex
	last    uint64 // one count for all, so that a device forgotten and registered again goes on
	devices map[string]*memoryDevice
	wakes   []func(device string)
}

type memoryDevice struct {
	key     keys.IdentityKey
	waiting []memoryCommand
}

type memoryCommand struct {
	n       uint64
	command []byte
	at      time.Time
}

var _ Queue = (*Memory)(nil)

// NewQueue makes an empty queue, with an epoch of its own, that knows no device.
func NewQueue() *Memory {
	return &Memory{epoch: rand.Text(), devices: make(map[string]*memoryDevice)}
}

// Register makes a device known by its identity key; a second call changes the key.
func (m *Memory) Register(device string, key keys.IdentityKey) error {
	if !validID(device) {
		return fmt.Errorf("https: device id %q is not [A-Za-z0-9._-]{1,64}", device)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.devices[device]; d != nil {
		d.key = key
		return nil
	}
	m.devices[device] = &memoryDevice{key: key}
	return nil
}

// Forget makes a device unknown and drops what waits for it.
func (m *Memory) Forget(device string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.devices, device)
}

// DeviceKey implements [Queue].
func (m *Memory) DeviceKey(_ context.Context, device string) (keys.IdentityKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.devices[device]
	if d == nil {
		return keys.IdentityKey{}, ErrUnknownDevice
	}
	return d.key, nil
}

// Push implements [Queue]. A command whose very bytes still wait is not added again.
func (m *Memory) Push(_ context.Context, device string, command []byte) error {
	wakes, err := m.push(device, command)
	for _, wake := range wakes {
		wake(device)
	}
	return err
}

func (m *Memory) push(device string, command []byte) ([]func(string), error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.devices[device]
	if d == nil {
		return nil, ErrUnknownDevice
	}
	d.expire()
	if slices.ContainsFunc(d.waiting, func(c memoryCommand) bool { return bytes.Equal(c.command, command) }) {
		return m.wakes, nil
	}
	if len(d.waiting) >= memoryDepth {
		return nil, ErrQueueFull
	}
	m.last++
	d.waiting = append(d.waiting, memoryCommand{m.last, bytes.Clone(command), time.Now()})
	return m.wakes, nil
}

// Pull implements [Queue].
func (m *Memory) Pull(_ context.Context, device string, after Mark) ([]byte, Mark, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := Mark{Epoch: m.epoch}
	d := m.devices[device]
	if d == nil {
		return nil, at, ErrUnknownDevice
	}
	d.expire()
	if after.Epoch == m.epoch {
		d.drop(func(c memoryCommand) bool { return c.n > after.N })
	}
	if len(d.waiting) == 0 {
		return nil, at, nil
	}
	at.N = d.waiting[0].n
	return d.waiting[0].command, at, nil
}

// Notify implements [Queue].
func (m *Memory) Notify(wake func(device string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wakes = append(slices.Clip(m.wakes), wake)
}

func (d *memoryDevice) expire() {
	now := time.Now()
	d.drop(func(c memoryCommand) bool { return now.Sub(c.at) <= memoryAge })
}

// drop removes commands from the front until keep holds. A fleet's queues are empty nearly
// always, so an empty one holds no array.
func (d *memoryDevice) drop(keep func(memoryCommand) bool) {
	i := slices.IndexFunc(d.waiting, keep)
	switch {
	case i < 0:
		d.waiting = nil
	case i > 0:
		d.waiting = slices.Delete(d.waiting, 0, i)
	}
}
