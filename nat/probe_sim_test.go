package nat

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun"

	"github.com/boothwire/boothwire/internal/deadline"
)

// A labNet is an internet in memory, in the time of a synctest bubble, with one box
// between some hosts and the rest.
type labNet struct {
	mu    sync.Mutex
	socks map[netip.AddrPort]*labSock
	box   *labBox
	drop  func(from, to netip.AddrPort, data []byte) bool // may be nil
	sent  int                                             // by hosts behind the box
}

// A labBox is a NAT, or a firewall if mapping is Open. Its bindings expire; only
// what is sent from inside keeps them.
type labBox struct {
	public             netip.Addr
	inside             netip.Prefix
	mapping, filtering Class
	hairpin, keepPort  bool
	lifetime           time.Duration // 0: for ever
	clash              bool          // like Linux: what was kept out is a connection, in the way of the one back
	clashes            map[[2]netip.AddrPort]bool
	next               uint16
	bindings           []*labBinding
}

type labBinding struct {
	inside, key, public netip.AddrPort
	used                time.Time
	sentTo              []netip.AddrPort
}

const labDelay = 10 * time.Millisecond // one way

func newLabNet(box *labBox) *labNet {
	return &labNet{socks: make(map[netip.AddrPort]*labSock), box: box}
}

// part is what a class depends on.
func (c Class) part(a netip.AddrPort) netip.AddrPort {
	switch c {
	case AddressDependent:
		return netip.AddrPortFrom(a.Addr(), 0)
	case AddressAndPortDependent:
		return a
	}
	return netip.AddrPort{}
}

func (b *labBox) live(l *labBinding) bool {
	return b.lifetime == 0 || time.Since(l.used) < b.lifetime
}

// out translates what goes out.
func (b *labBox) out(from, to netip.AddrPort) netip.AddrPort {
	key := b.mapping.part(to)
	b.bindings = slices.DeleteFunc(b.bindings, func(l *labBinding) bool { return !b.live(l) })
	i := slices.IndexFunc(b.bindings, func(l *labBinding) bool { return l.inside == from && l.key == key })
	if i < 0 {
		public := from
		if b.mapping != Open {
			b.next += 7
			port := 40000 + b.next
			if b.keepPort {
				port = from.Port()
			}
			public = netip.AddrPortFrom(b.public, port)
		}
		b.bindings = append(b.bindings, &labBinding{inside: from, key: key, public: public})
		i = len(b.bindings) - 1
	}
	l := b.bindings[i]
	l.used = time.Now()
	l.sentTo = append(l.sentTo, b.filtering.part(to))
	if b.clashes[[2]netip.AddrPort{to, l.public}] {
		return netip.AddrPortFrom(b.public, l.public.Port()+1)
	}
	return l.public
}

// in translates what comes in; an invalid address is kept out.
func (b *labBox) in(from, to netip.AddrPort) netip.AddrPort {
	for _, l := range b.bindings {
		if l.public == to && b.live(l) && slices.Contains(l.sentTo, b.filtering.part(from)) {
			return l.inside
		}
	}
	if b.clash {
		b.clashes[[2]netip.AddrPort{from, to}] = true
	}
	return netip.AddrPort{}
}

func (n *labNet) send(from, to netip.AddrPort, data []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if b := n.box; b != nil {
		inside := b.inside.Contains(from.Addr())
		if inside {
			n.sent++
		}
		if inside && !b.inside.Contains(to.Addr()) {
			from = b.out(from, to)
			if to.Addr() == b.public && !b.hairpin {
				return
			}
			inside = false
		}
		if n.drop != nil && n.drop(from, to, data) {
			return
		}
		if !inside && (to.Addr() == b.public || b.inside.Contains(to.Addr())) {
			if b.mapping != Open && to.Addr() != b.public {
				return
			}
			to = b.in(from, to)
		}
	} else if n.drop != nil && n.drop(from, to, data) {
		return
	}
	dst := n.socks[to]
	if dst == nil {
		return
	}
	p := labPacket{slices.Clone(data), from}
	time.AfterFunc(labDelay, func() {
		select {
		case dst.queue <- p:
		default:
		}
	})
}

type labPacket struct {
	data []byte
	from netip.AddrPort
}

type labSock struct {
	net   *labNet
	local netip.AddrPort
	queue chan labPacket
	read  *deadline.Deadline
	fail  error // of writes
}

func (n *labNet) sock(local string) *labSock {
	s := &labSock{net: n, local: netip.MustParseAddrPort(local), queue: make(chan labPacket, 256), read: deadline.New()}
	n.socks[s.local] = s
	return s
}

func (s *labSock) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case d := <-s.queue:
		return copy(p, d.data), net.UDPAddrFromAddrPort(d.from), nil
	case <-s.read.Wait():
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (s *labSock) WriteTo(p []byte, to net.Addr) (int, error) {
	if s.fail != nil {
		return 0, s.fail
	}
	s.net.send(s.local, to.(*net.UDPAddr).AddrPort(), p)
	return len(p), nil
}

func (s *labSock) Close() error                  { panic("the caller's socket was closed") }
func (s *labSock) LocalAddr() net.Addr           { return net.UDPAddrFromAddrPort(s.local) }
func (s *labSock) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }
func (s *labSock) SetReadDeadline(t time.Time) error {
	s.read.Set(t)
	return nil
}
func (s *labSock) SetWriteDeadline(time.Time) error { return nil }

// serve runs the server on addresses, until the test ends.
func (n *labNet) serve(t *testing.T, ctx context.Context, addrs ...string) (stop func()) {
	t.Helper()
	var conns []net.PacketConn
	for _, a := range addrs {
		conns = append(conns, n.sock(a))
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- ServeSTUN(ctx, conns...) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ServeSTUN: %v", err)
		}
	}
}

// square are the four addresses of an RFC 5780 server at 192.0.2.1 and .2.
func square() []string {
	return []string{"192.0.2.1:3478", "192.0.2.1:3479", "192.0.2.2:3478", "192.0.2.2:3479"}
}

// servePlain answers like a server that knows nothing but RFC 8489, with what pion
// makes of it.
func servePlain(s *labSock) (stop func()) {
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := s.ReadFrom(buf)
			if err != nil {
				return
			}
			req := &stun.Message{Raw: buf[:n]}
			if req.Decode() != nil {
				continue
			}
			a := from.(*net.UDPAddr)
			res, err := stun.Build(req, stun.BindingSuccess, &stun.XORMappedAddress{IP: a.IP, Port: a.Port}, stun.Fingerprint)
			if err != nil {
				panic(err)
			}
			_, _ = s.WriteTo(res.Raw, from)
		}
	})
	return func() {
		s.read.Set(time.Unix(1, 0))
		done.Wait()
	}
}
