// Package sock sets what a leg wants of its TCP connection.
package sock

import (
	"net"
	"time"
)

const (
	notSentLowAt = 32 << 10         // bytes in the kernel that TCP has not sent: the queue before them can drop, they cannot
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

// Listen has each connection that ln accepts be one of Wrap's.
func Listen(ln net.Listener) net.Listener { return listener{ln} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Wrap(c), nil
}

// A Leg is what Wrap makes of a connection, where it can. A write that does not wait is
// for whoever must not: it reads at the same time.
type Leg interface {
	Whole() bool              // the next record of TLS is there already
	Hold(on bool) (left bool) // from on to off a Write does not wait; left: there is something to Flush
	Flush() error
}

// Of returns the Leg below c; nil: there is none.
func Of(c net.Conn) Leg {
	for {
		if l, ok := c.(Leg); ok {
			return l
		}
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = inner.NetConn()
	}
}
