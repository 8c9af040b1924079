package signaling

import "errors"

// Mark is a place in a device's queue of commands, for transports that devices
// fetch them by: every command of Epoch up to N.
type Mark struct {
	Epoch string // names one life of the numbering; [A-Za-z0-9._-]{1,64}
	N     uint64 // the first command is number 1
}

// What a queue of commands returns, or wraps.
var (
	ErrUnknownDevice = errors.New("signaling: unknown device")                // it was not registered
	ErrQueueFull     = errors.New("signaling: too many commands are waiting") // for one device
)
