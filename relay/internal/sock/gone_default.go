//go:build !linux

package sock

import "net"

// Gone is false where nobody knows.
func Gone(net.Conn) bool { return false }

// Unread is 0 where nobody knows.
func Unread(net.Conn) int { return 0 }

// Descriptors is 0 where nobody knows.
func Descriptors() int { return 0 }
