package nat

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/boothwire/boothwire/nat/internal/stun"
)

// filter asks for answers from elsewhere.
func (p *probe) filter(ctx context.Context, primary *target, rto time.Duration) (t filterTest) {
	var both sync.WaitGroup
	both.Go(func() { t.both = p.change(ctx, primary.Addr, primary.other, stun.ChangeIP|stun.ChangePort, rto) })
	both.Go(func() { t.port = p.change(ctx, primary.Addr, portOnly(primary), stun.ChangePort, rto) })
	both.Wait()
	return t
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

// spoil takes back what tells nothing because somebody was asked before.
func (t *filterTest) spoil(primary *target, before []*target) {
	for _, b := range before {
		switch {
		case b.Addr.Addr() == primary.other.Addr():
			t.spoiled = true
		case b.Addr == portOnly(primary) && t.port == letIn:
			t.port = untold
		}
	}
}

// portOnly is the server's other port at the same address.
func portOnly(primary *target) netip.AddrPort {
	return netip.AddrPortFrom(primary.Addr.Addr(), primary.other.Port())
}

// alternates asks the server's other addresses themselves. That completes the test
// of the filter, and gives sightings for the mapping.
func (p *probe) alternates(ctx context.Context, primary *target, rto time.Duration, t *filterTest) (seen []sighting) {
	list := []netip.AddrPort{
		portOnly(primary),
		netip.AddrPortFrom(primary.other.Addr(), primary.Addr.Port()),
		primary.other,
	}
	answers := make([]sighting, len(list))
	var all sync.WaitGroup
	for i, to := range list {
		all.Go(func() {
			a, err := p.client.ask(ctx, ask{to: to, waits: schedule(rto), wanted: func(h heard) bool {
				return h.from == to && h.msg.Type == stun.BindingSuccess
			}})
			if err != nil {
				return
			}
			if mapped, ok := a.msg.Mapped(); ok && mapped.Addr().BitLen() == to.Addr().BitLen() {
				answers[i] = sighting{to, mapped}
			}
		})
	}
	all.Wait()
	for _, s := range answers {
		if s.to.IsValid() {
			seen = append(seen, s)
		}
	}
	if !answers[0].to.IsValid() && t.port == kept {
		t.port = unreachable
	}
	if !answers[2].to.IsValid() && t.both == kept {
		t.both = unreachable
	}
	return seen
}
