package sock

import (
	"net"

	"golang.org/x/sys/unix"
)

// tcpEstablished is the state of a connection that neither end has closed.
const tcpEstablished = 1

// Gone reports whether the far end of c's TCP connection has hung up already, which
// reading what it said before would not tell.
func Gone(c net.Conn) (gone bool) {
	for {
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = inner.NetConn()
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		gone = err == nil && info.State != tcpEstablished
	})
	return gone || err != nil
}
