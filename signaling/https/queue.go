package https

import (
	"context"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
)

// What a Queue returns, or wraps, for a device that was not registered, and for one
// that has too many commands waiting.
var (
	ErrUnknownDevice = signaling.ErrUnknownDevice
	ErrQueueFull     = signaling.ErrQueueFull
)

// Mark is a place in a device's queue.
type Mark = signaling.Mark

// Queue holds commands until their devices fetched them, and knows the devices' keys.
// [NewQueue] is one in memory; a control server has its own. Its methods are called
// concurrently and must not wait for a device.
type Queue interface {
	// DeviceKey is the identity key that was registered for the device, or
	// ErrUnknownDevice. It is called for each request.
	DeviceKey(ctx context.Context, device string) (keys.IdentityKey, error)

	// Push appends a command to the device's queue, numbers it higher than every command
	// of the same device and epoch before it, and calls what Notify registered. It may
	// ignore a command whose very bytes still wait. ErrQueueFull when there is no room.
	Push(ctx context.Context, device string, command []byte) error

	// Pull returns at once: the waiting command with the lowest number above after.N, and
	// its mark; or no command and the mark {epoch, 0}. The mark always names the queue's
	// epoch, and an after of another epoch, or of none, counts as N 0. Pull acknowledges:
	// commands up to after.N are never returned again, also to a later Pull with a lower
	// after. A command that Pull returned stays until it is acknowledged or too old to
	// be of use.
	Pull(ctx context.Context, device string, after Mark) (command []byte, at Mark, err error)

	// Notify registers a function to call after each Push, whichever process pushed, with
	// the device's id, or with "" when it may be any (after a lost connection to a
	// database, say). It never blocks. Every registered function is called.
	Notify(wake func(device string))
}
