//go:build !linux

package netlab

import (
	"errors"
	"os"
)

// Do returns errors.ErrUnsupported: only Linux has network namespaces.
func (h *Host) Do(func() error) error { return errors.ErrUnsupported }

func kill(string) {}

func openTUN(*Interface) (*os.File, error) { return nil, errors.ErrUnsupported }

func flushConntrack() error { return errors.ErrUnsupported }
