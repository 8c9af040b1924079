package tunnel

import "errors"

// Reasons why a tunnel ended by itself, as Err returns them. Both are planned
// ends: nothing is broken.
var (
	ErrLifetime = errors.New("tunnel: its lifetime is over")
	ErrIdle     = errors.New("tunnel: no packets from an operator for too long")
)

// A DriverError is what stands between the tunnel and the host's network. Op is
// "adapter", "overlap" (an address is in use on this host already), "netstack",
// "tun", "socket" or "wireguard".
type DriverError struct {
	Op  string
	Err error
}

func (e *DriverError) Error() string { return "tunnel: " + e.Op + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *DriverError) Unwrap() error { return e.Err }

// Code names the error for statuses: Op.
func (e *DriverError) Code() string { return e.Op }
