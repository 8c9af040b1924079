// Package sock sets what a leg wants of its TCP connection.
package sock

import (
	"net"
	"time"
)

const (
	notSentLowAt = 16 << 10         // bytes in the kernel that TCP has not sent: the queue before them can drop, they cannot
	userTimeout  = 20 * time.Second // without an acknowledgement; a stall of a mobile network is shorter
)

// Tune sets the options of c's TCP connection, which it finds below TLS. Those that
// a system lacks are left out.
func Tune(c net.Conn) {
	for {
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = inner.NetConn()
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	_ = t.SetNoDelay(true)
	_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 45 * time.Second, Interval: 15 * time.Second, Count: 3})
	if raw, err := t.SyscallConn(); err == nil {
		_ = raw.Control(options)
	}
}
