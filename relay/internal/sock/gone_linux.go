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
	there := ask(c, func(fd int) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		gone = err == nil && info.State != tcpEstablished
	})
	return gone || !there
}

// Unread is how many bytes of c's TCP connection wait to be read.
func Unread(c net.Conn) (n int) {
	ask(c, func(fd int) { n, _ = unix.IoctlGetInt(fd, unix.SIOCINQ) })
	return n
}

// Descriptors is how many this process may have open at once.
func Descriptors() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return int(min(l.Cur, 1<<30))
}

// ask calls f with the descriptor of what is a TCP connection at the bottom. It reports
// false for one that is closed here.
func ask(c net.Conn, f func(fd int)) bool {
	for {
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = inner.NetConn()
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return true
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) }) == nil
}
