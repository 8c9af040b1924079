package mux

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun"
)

// queryAgain is when a query is repeated, after it was sent: a doubling from
// 200 ms (RFC 8489, section 6.2.1, asks for 500 ms or what is known of the RTT),
// so that a lost datagram delays a candidate by less than a path's own checks.
func queryAgain() []time.Duration {
	return []time.Duration{
		200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, 1600 * time.Millisecond,
	}
}

// An ask is a request of our own.
type ask struct {
	to     netip.AddrPort
	wanted func(*stun.Message) bool
	got    chan *stun.Message
}

// answer ends the ask, if msg is what it waits for and comes from where it went.
func (a *ask) answer(msg *stun.Message, from netip.AddrPort) {
	if from != a.to || !a.wanted(msg) {
		return
	}
	select {
	case a.got <- msg:
	default:
	}
}

// RoundTrip sends req to an address and returns its answer, the first one that
// wanted takes; others go on being waited for. Each of again is how long after
// the last time it is sent once more. A send that fails counts as lost.
func (m *Mux) RoundTrip(ctx context.Context, to netip.AddrPort, req *stun.Message, wanted func(*stun.Message) bool, again ...time.Duration) (*stun.Message, error) {
	a := &ask{to: to, wanted: wanted, got: make(chan *stun.Message, 1)}
	m.mu.Lock()
	m.asks[req.TransactionID] = a
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.asks, req.TransactionID)
	}()
	for i := 0; ; i++ {
		err := m.write(req.Raw, to)
		if errors.Is(err, errRefused) || errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		var next <-chan time.Time
		if i < len(again) {
			next = time.After(again[i])
		}
		select {
		case msg := <-a.got:
			return msg, nil
		case <-m.done:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-next:
		}
	}
}

// Query asks a STUN server how it sees the socket (RFC 8489, section 2). Nothing
// is kept: the next gather, perhaps on another network, asks again.
func (m *Mux) Query(ctx context.Context, server netip.AddrPort) (netip.AddrPort, error) {
	req, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
	if err != nil {
		return netip.AddrPort{}, err
	}
	server = unmap(server)
	msg, err := m.RoundTrip(ctx, server, req, func(msg *stun.Message) bool {
		_, ok := mappedAddr(msg)
		return ok
	}, queryAgain()...)
	if err != nil {
		return netip.AddrPort{}, err
	}
	mapped, _ := mappedAddr(msg)
	return mapped, nil
}

// mappedAddr returns the address that a success response maps to.
func mappedAddr(msg *stun.Message) (netip.AddrPort, bool) {
	if msg.Type.Class != stun.ClassSuccessResponse {
		return netip.AddrPort{}, false
	}
	var x stun.XORMappedAddress
	ip, port := net.IP(nil), 0
	if x.GetFrom(msg) == nil {
		ip, port = x.IP, x.Port
	} else {
		var plain stun.MappedAddress
		if plain.GetFrom(msg) != nil {
			return netip.AddrPort{}, false
		}
		ip, port = plain.IP, plain.Port
	}
	a, ok := netip.AddrFromSlice(ip)
	if !ok || port < 1 || port > 65535 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(port)), true
}

// GetXORMappedAddr is Query as pion wants it.
func (m *Mux) GetXORMappedAddr(server net.Addr, wait time.Duration) (*stun.XORMappedAddress, error) {
	addr, ok := server.(*net.UDPAddr)
	if !ok {
		return nil, net.InvalidAddrError("not a UDP address")
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	a, err := m.Query(ctx, addr.AddrPort())
	if err != nil {
		return nil, err
	}
	return &stun.XORMappedAddress{IP: a.Addr().AsSlice(), Port: int(a.Port())}, nil
}

// GetRelayedAddr is not supported: a relayed candidate has a socket of its own.
func (m *Mux) GetRelayedAddr(net.Addr, time.Duration) (*net.Addr, error) {
	return nil, errors.ErrUnsupported
}
