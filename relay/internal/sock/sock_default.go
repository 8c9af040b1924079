//go:build !linux

package sock

func options(uintptr) {}
