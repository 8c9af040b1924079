//go:build !linux

package netwatch

// hints signals when the addresses may have changed.
func hints() (<-chan struct{}, func()) { return poll() }
