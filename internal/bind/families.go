package bind

import (
	"errors"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.zx2c4.com/wireguard/conn"
)

// Default returns what WireGuard uses on this system.
//
// Where that is a StdNetBind, its two families are kept apart in sending. One alone
// sends to wrong addresses once both are used: it copies an address into a buffer of
// the length that the send before it left, so that behind an IPv4 address four bytes
// of an IPv6 one are copied and the other twelve are an earlier one's
// (https://github.com/WireGuard/wireguard-go/pull/135).
func Default() conn.Bind {
	b := conn.NewDefaultBind()
	if _, ok := b.(*conn.StdNetBind); !ok {
		return b
	}
	f := new(families)
	f.now.Store(&sockets{b, b})
	return f
}

// A families is two StdNetBinds on the same sockets, one of which sends IPv6 and
// nothing else.
type families struct {
	now atomic.Pointer[sockets]

	mu   sync.Mutex // of Open and Close
	open bool
}

type sockets struct {
	four conn.Bind // opens, receives, closes, and sends IPv4
	six  conn.Bind // a copy of four
}

var _ conn.Bind = (*families)(nil)

// Open opens both sockets.
func (f *families) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	four := conn.NewStdNetBind()
	fns, actual, err := openAt(four, port)
	if err != nil {
		return nil, 0, err
	}
	// Nobody has it yet: it is not locked, and its pool of buffers, which a later copy
	// would share, is empty.
	six := reflect.New(reflect.TypeFor[conn.StdNetBind]())
	six.Elem().Set(reflect.ValueOf(four).Elem())
	f.now.Store(&sockets{four, six.Interface().(conn.Bind)})
	f.open = true
	return fns, actual, nil
}

// openAt opens b and says at which port. A StdNetBind says 0 where the kernel has no
// IPv6, whatever port its IPv4 socket has.
func openAt(b conn.Bind, port uint16) (fns []conn.ReceiveFunc, actual uint16, err error) {
	for range 100 { // somebody else may take the port in between
		fns, actual, err = b.Open(port)
		if port != 0 {
			return fns, port, err
		}
		if actual != 0 || err != nil {
			return fns, actual, err
		}
		if err = b.Close(); err != nil {
			return nil, 0, err
		}
		c, err := net.ListenUDP("udp4", nil)
		if err != nil {
			return nil, 0, err
		}
		free := c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		c.Close()
		if fns, _, err = b.Open(free); !errors.Is(err, syscall.EADDRINUSE) {
			return fns, free, err
		}
	}
	return nil, 0, syscall.EADDRINUSE
}

// Close closes both sockets.
func (f *families) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = false
	return f.now.Load().four.Close()
}

// Send sends packets out of the socket of the endpoint's family.
func (f *families) Send(bufs [][]byte, ep conn.Endpoint) error {
	now := f.now.Load()
	if ep.DstIP().Is6() {
		return now.six.Send(bufs, ep)
	}
	return now.four.Send(bufs, ep)
}

func (f *families) ParseEndpoint(s string) (conn.Endpoint, error) {
	return f.now.Load().four.ParseEndpoint(s)
}

func (f *families) SetMark(mark uint32) error { return f.now.Load().four.SetMark(mark) }

func (f *families) BatchSize() int { return f.now.Load().four.BatchSize() }

// socket is the Bind that sends by one of b's sockets.
func (b *Bind) socket(six bool) conn.Bind {
	f, ok := b.inner.(*families)
	switch {
	case !ok:
		return b.inner
	case six:
		return f.now.Load().six
	}
	return f.now.Load().four
}
