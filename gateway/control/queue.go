package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

const (
	queueAge   = 2 * time.Minute // the longest pause of a device between two polls is one
	queueDepth = 16
	nameEpoch  = "queue_epoch"
)

// Errors of the queue for devices that poll.
var (
	ErrUnknownDevice = signaling.ErrUnknownDevice
	ErrQueueFull     = signaling.ErrQueueFull
)

// Mark is a place in a device's queue.
type Mark = signaling.Mark

// pollQueue knows which devices have nothing waiting, so that 10,000 polls do not
// ask the database.
type pollQueue struct {
	mu    sync.Mutex
	epoch string
	wakes []func(device string)
	have  map[string]bool // false, or absent after the first look: nothing waits
}

// DeviceKey returns the identity key under which a device was registered, or
// ErrUnknownDevice.
func (c *Control) DeviceKey(_ context.Context, id string) (keys.IdentityKey, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.devices[id]
	if d == nil {
		return keys.IdentityKey{}, ErrUnknownDevice
	}
	return d.key, nil
}

// Push appends a command to the queue of a device that polls, and calls what Notify
// registered. Numbers are at least the time in microseconds, so that none comes
// twice even when a loss of power took the last ones. A command whose very bytes
// still wait is not added again. Commands wait 2 minutes, at most 16 a device, offers
// no more than fill half of it: ErrQueueFull.
func (c *Control) Push(ctx context.Context, id string, command []byte) error {
	now, depth := c.cfg.Now(), queueDepth
	if cmd, err := signaling.ParseCommand(command); err == nil && cmd.Action == signaling.Offer {
		depth /= 2 // a flood of them must not keep a down away
	}
	err := c.store.Do(ctx, func(tx *store.Tx) error {
		_, err := tx.PushCommand(id, command, uint64(now.UnixMicro()), now, now.Add(-queueAge), depth)
		return err
	})
	switch {
	case errors.Is(err, store.ErrAbsent):
		return ErrUnknownDevice
	case errors.Is(err, store.ErrTaken):
		return ErrQueueFull
	case err != nil:
		return fmt.Errorf("control: %w", err)
	}
	c.queue.mu.Lock()
	if c.queue.have == nil {
		c.queue.have = make(map[string]bool)
	}
	c.queue.have[id] = true
	wakes := c.queue.wakes
	c.queue.mu.Unlock()
	for _, wake := range wakes {
		wake(id)
	}
	return nil
}

// Pull returns the waiting command with the lowest number above after.N and its
// mark, or none and a mark with N 0. It acknowledges: what is up to after.N is gone.
// An after of another epoch counts as N 0.
func (c *Control) Pull(ctx context.Context, id string, after Mark) ([]byte, Mark, error) {
	epoch, err := c.epoch(ctx)
	at := Mark{Epoch: epoch}
	if err != nil {
		return nil, at, err
	}
	if _, err := c.DeviceKey(ctx, id); err != nil {
		return nil, at, err
	}
	if after.Epoch != epoch {
		after.N = 0
	}
	c.queue.mu.Lock()
	waits, known := c.queue.have[id]
	c.queue.mu.Unlock()
	if known && !waits {
		return nil, at, nil
	}
	if after.N > 0 {
		if err := c.store.Do(ctx, func(tx *store.Tx) error { return tx.AckCommands(id, after.N) }); err != nil {
			return nil, at, fmt.Errorf("control: %w", err)
		}
	}
	// Noted before the look: a push that comes in between is not forgotten.
	c.queue.mu.Lock()
	if c.queue.have == nil {
		c.queue.have = make(map[string]bool)
	}
	c.queue.have[id] = false
	c.queue.mu.Unlock()
	list, err := c.store.Commands(ctx, id, c.cfg.Now().Add(-queueAge))
	if err != nil || len(list) > 0 {
		c.queue.mu.Lock()
		c.queue.have[id] = true
		c.queue.mu.Unlock()
	}
	if err != nil {
		return nil, at, fmt.Errorf("control: %w", err)
	}
	if len(list) == 0 {
		return nil, at, nil
	}
	at.N = list[0].N
	return list[0].Command, at, nil
}

// Notify registers a function to call with the device's id after each Push. It must
// not block.
func (c *Control) Notify(wake func(device string)) {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	c.queue.wakes = append(c.queue.wakes[:len(c.queue.wakes):len(c.queue.wakes)], wake)
}

// epoch names the life of the queue's numbers: that of the database.
func (c *Control) epoch(ctx context.Context) (string, error) {
	c.queue.mu.Lock()
	epoch := c.queue.epoch
	c.queue.mu.Unlock()
	if epoch != "" {
		return epoch, nil
	}
	epoch, err := c.store.Meta(ctx, nameEpoch)
	if errors.Is(err, store.ErrAbsent) {
		epoch = keys.NewID()
		err = c.store.Do(ctx, func(tx *store.Tx) error { return tx.InitMeta(nameEpoch, epoch) })
		if err == nil {
			epoch, err = c.store.Meta(ctx, nameEpoch)
		}
	}
	if err != nil {
		return "", fmt.Errorf("control: %w", err)
	}
	c.queue.mu.Lock()
	c.queue.epoch = epoch
	c.queue.mu.Unlock()
	return epoch, nil
}
