//go:build !linux

package adapter

import (
	"errors"
	"net/netip"

	"golang.zx2c4.com/wireguard/tun"
)

// An Adapter is not to be had on this system.
type Adapter struct{}

// Create returns errors.ErrUnsupported.
func Create(string, int, []netip.Addr, []netip.Addr) (*Adapter, error) {
	return nil, errors.ErrUnsupported
}

// Name returns "".
func (*Adapter) Name() string { return "" }

// Device returns nil.
func (*Adapter) Device() tun.Device { return nil }

// Up returns errors.ErrUnsupported.
func (*Adapter) Up(own, far []netip.Addr) error { return errors.ErrUnsupported }

// SetFar returns errors.ErrUnsupported.
func (*Adapter) SetFar(far []netip.Addr) error { return errors.ErrUnsupported }

// SetMTU returns errors.ErrUnsupported.
func (*Adapter) SetMTU(mtu int) error { return errors.ErrUnsupported }

// Close returns nil.
func (*Adapter) Close() error { return nil }
