package bind

import (
	"errors"
	"fmt"

	"golang.zx2c4.com/wireguard/conn"
)

// What only some inner Binds can do is errors.ErrUnsupported with the others.
var (
	_ conn.BindSocketToInterface = (*Bind)(nil)
	_ conn.PeekLookAtSocketFd    = (*Bind)(nil)
)

// BindSocketToInterface4 ties the IPv4 socket to an interface (Windows).
func (b *Bind) BindSocketToInterface4(index uint32, blackhole bool) error {
	if i, ok := b.socket(false).(conn.BindSocketToInterface); ok {
		return i.BindSocketToInterface4(index, blackhole)
	}
	return fmt.Errorf("bind: socket to interface: %w", errors.ErrUnsupported)
}

// BindSocketToInterface6 ties the IPv6 socket to an interface (Windows).
func (b *Bind) BindSocketToInterface6(index uint32, blackhole bool) error {
	if i, ok := b.socket(true).(conn.BindSocketToInterface); ok {
		return i.BindSocketToInterface6(index, blackhole)
	}
	return fmt.Errorf("bind: socket to interface: %w", errors.ErrUnsupported)
}

// PeekLookAtSocketFd4 returns the IPv4 socket's descriptor (Android).
func (b *Bind) PeekLookAtSocketFd4() (fd int, err error) {
	if i, ok := b.socket(false).(conn.PeekLookAtSocketFd); ok {
		return i.PeekLookAtSocketFd4()
	}
	return -1, fmt.Errorf("bind: socket descriptor: %w", errors.ErrUnsupported)
}

// PeekLookAtSocketFd6 returns the IPv6 socket's descriptor (Android).
func (b *Bind) PeekLookAtSocketFd6() (fd int, err error) {
	if i, ok := b.socket(true).(conn.PeekLookAtSocketFd); ok {
		return i.PeekLookAtSocketFd6()
	}
	return -1, fmt.Errorf("bind: socket descriptor: %w", errors.ErrUnsupported)
}
