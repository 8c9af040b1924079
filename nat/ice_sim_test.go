package nat

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun"

	"github.com/boothwire/boothwire/internal/deadline"
)

// A world is an internet in memory, in the time of a synctest bubble.
type world struct {
	mu    sync.Mutex
	socks map[netip.AddrPort]*simSock
	nats  map[netip.Addr]*simNAT
	cut   bool                                 // nothing passes any more
	seen  func(from, to netip.AddrPort, n int) // every packet that is sent, may be nil
}

const simDelay = 10 * time.Millisecond // one way

func newWorld() *world {
	return &world{socks: make(map[netip.AddrPort]*simSock), nats: make(map[netip.Addr]*simNAT)}
}

// dependence is RFC 4787's for mappings and filters.
type dependence int

const (
	independent dependence = iota
	addressDependent
	portDependent
)

// of is the part of an address that is depended on.
func (d dependence) of(a netip.AddrPort) netip.AddrPort {
	switch d {
	case independent:
		return netip.AddrPort{}
	case addressDependent:
		return netip.AddrPortFrom(a.Addr(), 0)
	}
	return a
}

// A simNAT has one public address.
type simNAT struct {
	public          netip.Addr
	mapping, filter dependence
	next            uint16
	out             map[[2]netip.AddrPort]netip.AddrPort // inside and what is depended on, to public
	back            map[netip.AddrPort]netip.AddrPort    // public to inside
	open            map[[2]netip.AddrPort]bool           // public and what is depended on
}

func (w *world) nat(public string, mapping, filter dependence) *simNAT {
	n := &simNAT{
		public: netip.MustParseAddr(public), mapping: mapping, filter: filter, next: 40000,
		out:  make(map[[2]netip.AddrPort]netip.AddrPort),
		back: make(map[netip.AddrPort]netip.AddrPort),
		open: make(map[[2]netip.AddrPort]bool),
	}
	w.nats[n.public] = n
	return n
}

func (n *simNAT) translate(from, to netip.AddrPort) netip.AddrPort {
	key := [2]netip.AddrPort{from, n.mapping.of(to)}
	m, ok := n.out[key]
	if !ok {
		n.next += 7
		m = netip.AddrPortFrom(n.public, n.next)
		n.out[key], n.back[m] = m, from
	}
	n.open[[2]netip.AddrPort{m, n.filter.of(to)}] = true
	return m
}

// A simSock is a socket, behind nat unless that is nil.
type simSock struct {
	world *world
	local netip.AddrPort
	nat   *simNAT
	queue chan simPacket
	read  *deadline.Deadline
}

type simPacket struct {
	data []byte
	from netip.AddrPort
}

func (w *world) sock(local string, nat *simNAT) *simSock {
	s := &simSock{w, netip.MustParseAddrPort(local), nat, make(chan simPacket, 256), deadline.New()}
	w.socks[s.local] = s
	return s
}

// send moves a packet from a socket. It does not cross back into a NAT that it
// came out of: none of them hairpins.
func (w *world) send(s *simSock, to netip.AddrPort, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	from := s.local
	if w.seen != nil {
		w.seen(from, to, len(data))
	}
	dst := w.socks[to]
	if dst == nil || dst.nat != s.nat || s.nat == nil {
		if s.nat != nil {
			from = s.nat.translate(from, to)
		}
		if n := w.nats[to.Addr()]; n != nil && n != s.nat && n.open[[2]netip.AddrPort{to, n.filter.of(from)}] {
			dst = w.socks[n.back[to]]
		} else if dst != nil && dst.nat != nil {
			dst = nil // a private address elsewhere
		}
	}
	if dst == nil || w.cut {
		return
	}
	p := simPacket{append([]byte(nil), data...), from}
	time.AfterFunc(simDelay, func() {
		select {
		case dst.queue <- p:
		default:
		}
	})
}

func (s *simSock) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case <-s.read.Wait():
		return 0, nil, os.ErrDeadlineExceeded
	default:
	}
	select {
	case d := <-s.queue:
		return copy(p, d.data), net.UDPAddrFromAddrPort(d.from), nil
	case <-s.read.Wait():
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (s *simSock) WriteTo(p []byte, to net.Addr) (int, error) {
	s.world.send(s, to.(*net.UDPAddr).AddrPort(), p)
	return len(p), nil
}

func (s *simSock) Close() error                       { panic("the caller's socket was closed") }
func (s *simSock) LocalAddr() net.Addr                { return net.UDPAddrFromAddrPort(s.local) }
func (s *simSock) SetDeadline(t time.Time) error      { return s.SetReadDeadline(t) }
func (s *simSock) SetReadDeadline(t time.Time) error  { s.read.Set(t); return nil }
func (s *simSock) SetWriteDeadline(t time.Time) error { return nil }

// serve answers Binding requests but for the first lose of them, until stop.
func (s *simSock) serve(t *testing.T, lose int) (stop func()) {
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := s.ReadFrom(buf)
			if err != nil {
				return
			}
			if lose--; lose >= 0 {
				continue
			}
			req := &stun.Message{Raw: buf[:n]}
			if req.Decode() != nil {
				continue
			}
			a := from.(*net.UDPAddr)
			res, err := stun.Build(req, stun.BindingSuccess, &stun.XORMappedAddress{IP: a.IP, Port: a.Port}, stun.Fingerprint)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = s.WriteTo(res.Raw, from)
		}
	})
	return func() {
		s.read.Set(time.Unix(1, 0))
		done.Wait()
		s.read.Set(time.Time{})
	}
}
