//go:build !linux

package kernelvm

// boot is never called: no other system is the guest's.
func boot() {}
