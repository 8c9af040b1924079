package nat

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/boothwire/boothwire/nat/internal/stun"
)

// behaviour tests a server with alternates (RFC 5780, sections 4.3 and 4.4) from the
// one socket that there is, so each test must leave the next ones' answers alone:
//
//	A1:P1           was asked, and gave the first mapping
//	A1:P2           is asked: a mapping
//	A1:P1 -> A2:P2  an answer from where nothing was sent: the filter is independent
//	A2:P1           is asked: a mapping
//	A2:P1 -> A2:P2  an answer from an address that is known, by another port
//
// A2:P2 is never sent to. Not only would that open the filter: where its answer came
// in or was kept out, Linux remembers a connection, and what is sent back on it is
// not mapped as it would have been.
func (p *probe) behaviour(ctx context.Context, primary *target, before []*target) (seen []sighting, filtering Class) {
	rto := rtoAfter(primary.RTT)
	a1p1, a2p2 := primary.Addr, primary.other
	a1p2 := netip.AddrPortFrom(a1p1.Addr(), a2p2.Port())
	a2p1 := netip.AddrPortFrom(a2p2.Addr(), a1p1.Port())
	look := func(to netip.AddrPort) bool {
		mapped, ok := p.mapping(ctx, to, rto)
		if ok {
			seen = append(seen, sighting{to, mapped})
		}
		return ok
	}
	var t filterTest
	for _, b := range before {
		t.spoiled = t.spoiled || b.Addr.Addr() == a2p2.Addr()
		t.known = t.known || b.Addr == a2p2
	}
	var both sync.WaitGroup
	both.Go(func() { t.both = p.change(ctx, a1p1, a2p2, stun.ChangeIP|stun.ChangePort, rto) })
	portWorks := look(a1p2)
	both.Wait()
	if addressWorks := look(a2p1); addressWorks {
		t.port = p.change(ctx, a2p1, a2p2, stun.ChangePort, rto)
		t.reachable = portWorks
	}
	return seen, t.class()
}

// mapping asks an address how it sees the socket.
func (p *probe) mapping(ctx context.Context, to netip.AddrPort, rto time.Duration) (netip.AddrPort, bool) {
	a, err := p.client.ask(ctx, ask{to: to, waits: schedule(rto), wanted: func(h heard) bool {
		return h.from == to && h.msg.Type == stun.BindingSuccess
	}})
	if err != nil {
		return netip.AddrPort{}, false
	}
	mapped, ok := a.msg.Mapped()
	return mapped, ok && mapped.Addr().BitLen() == to.Addr().BitLen()
}

// change asks server to for an answer from another of its addresses.
func (p *probe) change(ctx context.Context, to, from netip.AddrPort, flags uint32, rto time.Duration) verdict {
	a, err := p.client.ask(ctx, ask{
		to:     to,
		waits:  schedule(rto),
		add:    func(b []byte) []byte { return stun.AddUint32(b, stun.ChangeRequest, flags) },
		wanted: func(h heard) bool { return h.response() && (h.from == from || h.from == to) },
	})
	switch {
	case errors.Is(err, errNoAnswer):
		return kept
	case err == nil && a.from == from && a.msg.Type == stun.BindingSuccess:
		return letIn
	}
	return untold // refused, or answered from where it was asked
}
