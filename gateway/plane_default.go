//go:build !linux

package gateway

import (
	"errors"
	"fmt"
)

func openKernel(*Node, [32]byte, uint16) (plane, error) {
	return nil, fmt.Errorf("gateway: the kernel data plane is Linux's: %w", errors.ErrUnsupported)
}
