//go:build !linux

package postgrestest

import (
	"errors"
	"os"
	"os/exec"
)

func own(string) error { return nil }

func unprivileged(*exec.Cmd) {}

func abort(p *os.Process) { _ = p.Kill() }

func freeze(int) (thaw func(), err error) { return nil, errors.ErrUnsupported }
