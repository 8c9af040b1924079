package nat

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/boothwire/boothwire/nat/internal/stun"
)

// stagger is between the first requests to two servers, unless the first one says
// that it is enough. It is above most round trips, so that the tests of filtering
// begin before another server's address is asked, which may be the alternate one.
const stagger = 300 * time.Millisecond

// family asks servers of one family, in this order because each test may spoil
// those after it: one that has an alternate address; its behaviour tests; all the
// others; and the hairpin.
func (p *probe) family(ctx context.Context, targets []*target) (f Family) {
	if len(targets) == 0 {
		return f
	}
	var asking sync.WaitGroup
	primary, rest := p.first(ctx, &asking, targets)
	var seen []sighting // by alternate addresses
	if primary != nil {
		seen, f.Filtering = p.behaviour(ctx, primary, targets[:len(targets)-len(rest)])
	}
	for _, t := range rest {
		asking.Go(func() { p.bind(ctx, t) })
	}
	asking.Wait()
	for _, t := range targets {
		switch {
		case t.Answered == Yes:
			f.Works = Yes
		case f.Works == NotChecked && (t.Answered == No || ctx.Err() == nil):
			f.Works = No
		}
	}
	seen = append(sightings(targets), seen...)
	if len(seen) == 0 {
		return f
	}
	f.see(p.localFor, seen)
	if f.NAT == Yes {
		f.Hairpin = p.hairpin(ctx, f.Public)
	}
	return f
}

// first asks one server after the other until one has an alternate address; those
// that were not asked are the rest.
func (p *probe) first(ctx context.Context, asking *sync.WaitGroup, targets []*target) (primary *target, rest []*target) {
	answers := make(chan *target, len(targets))
	waiting := 0
	rest = targets
	for waiting > 0 || len(rest) > 0 {
		var next <-chan time.Time
		if waiting == 0 {
			next = time.After(0)
		} else if len(rest) > 0 {
			next = time.After(stagger)
		}
		select {
		case t := <-answers:
			waiting--
			if t.other.IsValid() {
				return t, rest
			}
		case <-next:
			t := rest[0]
			rest = rest[1:]
			waiting++
			asking.Go(func() {
				p.bind(ctx, t)
				answers <- t
			})
		}
	}
	return nil, nil
}

// bind asks a server for the first time.
func (p *probe) bind(ctx context.Context, t *target) {
	a, err := p.client.ask(ctx, ask{to: t.Addr, waits: schedule(rtoFirst), wanted: func(h heard) bool {
		return h.from == t.Addr && h.response()
	}})
	switch {
	case errors.Is(err, errNoAnswer):
		t.Answered, t.Err = No, "no answer"
		return
	case err != nil:
		t.Err = "not sent"
		if ctx.Err() != nil {
			t.Err = "interrupted"
		}
		return
	}
	t.RTT = a.after
	mapped, ok := a.msg.Mapped()
	t.Answered = Yes
	if a.msg.Type != stun.BindingSuccess || !ok || mapped.Addr().BitLen() != t.Addr.Addr().BitLen() {
		t.Err = "refused"
		return
	}
	t.Mapped, t.Tests = mapped, No
	if other, ok := a.msg.Address(stun.OtherAddress); ok && alternate(t.Addr, other) {
		t.other, t.Tests = other, Yes
	}
}

func sightings(targets []*target) (list []sighting) {
	for _, t := range targets {
		if t.Mapped.IsValid() {
			list = append(list, sighting{t.Addr, t.Mapped})
		}
	}
	return list
}

// alternate reports whether other may be the alternate address of a server: it is
// what a stranger says, and is sent to.
func alternate(addr, other netip.AddrPort) bool {
	a, o := addr.Addr(), other.Addr()
	return a.BitLen() == o.BitLen() && a != o && addr.Port() != other.Port() &&
		a.IsLoopback() == o.IsLoopback() && !o.IsLinkLocalUnicast() &&
		o != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// localFor returns the socket's address towards a server, as far as it is known.
func (p *probe) localFor(to netip.AddrPort) netip.AddrPort {
	if !p.local.IsValid() || !p.local.Addr().IsUnspecified() {
		return p.local
	}
	// The host's route decides. Nothing is sent.
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.AddrPort{}
	}
	defer c.Close()
	return netip.AddrPortFrom(addrPort(c.LocalAddr()).Addr().WithZone(""), p.local.Port())
}

// hairpin sends to the socket's own public address.
func (p *probe) hairpin(ctx context.Context, public netip.AddrPort) Fact {
	const each = 150 * time.Millisecond
	_, err := p.client.ask(ctx, ask{to: public, waits: []time.Duration{each, each, 3 * each}, wanted: func(h heard) bool {
		return h.msg.Type == stun.BindingRequest
	}})
	switch {
	case err == nil:
		return Yes
	case errors.Is(err, errNoAnswer):
		return No
	}
	return NotChecked
}
