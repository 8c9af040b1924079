package tunnel

import (
	"fmt"
	"github.com/boothwire/boothwire/internal/bind"
	"net"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/tunnel/internal/netwatch"
)

// A ClockError says, in an EventClock, how far the wall clock was set. WireGuard
// stamps its handshakes with that clock and refuses what is older than the last
// one, so a tunnel over a clock that went back needs a fresh key (Update).
type ClockError struct{ By time.Duration }

func (e *ClockError) Error() string { return fmt.Sprintf("the wall clock was set by %v", e.By) }

func errField(err error) zap.Field { return zap.Error(err) }

// watchNetwork signals when the host's addresses have changed.
func (t *Tunnel) watchNetwork() <-chan struct{} {
	changed := make(chan struct{}, 1)
	if t.hooks.still {
		return changed
	}
	own := slices.Clone(t.cfg.Addresses)
	t.work.Go(func() {
		netwatch.Watch(t.ctx, func(ip net.IP) bool {
			a, ok := netip.AddrFromSlice(ip)
			return ok && slices.Contains(own, a.Unmap())
		}, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	})
	return changed
}

// networkChanged asks the far end again, over every path.
func (t *Tunnel) networkChanged() {
	t.tell(Event{Kind: EventNetwork})
	t.reopen()
	now := t.gate.Now()
	for _, f := range []*far{t.far, t.next} {
		if f != nil {
			f.dog.Reset()
			f.race.Lost(now)
		}
	}
}

// opened is the open path that a route is of, nil if it is of none.
func (t *Tunnel) opened(r bind.Route) *open {
	for _, o := range t.opens {
		if o.route == r && !r.IsZero() {
			return o
		}
	}
	return nil
}

// kindOf is how a route travels.
func (t *Tunnel) kindOf(r bind.Route) PathKind {
	if r.IsZero() {
		return ""
	}
	if o := t.opened(r); o != nil {
		return o.kind()
	}
	for _, p := range t.config().Paths {
		if bind.At(p.Addr) == r && p.Kind != "" {
			return p.Kind
		}
	}
	if r.IsStream() {
		return Relay // one that has just ended
	}
	return Direct
}

// remoteOf is where a route leads: ip:port.
func (t *Tunnel) remoteOf(r bind.Route) string {
	if r.Addr().IsValid() {
		return r.Addr().String()
	}
	if o := t.opened(r); o != nil {
		return o.remote
	}
	return ""
}

// moved takes what WireGuard has found by itself: the far end at another address. A
// stream that carries packets goes on; the address then gets its copy, and carries
// alone once an echo comes back from there.
func (t *Tunnel) moved(f *far, addr netip.AddrPort) bool {
	if primary, _ := f.race.Paths(); primary.IsStream() {
		return false
	}
	return f.race.Answered(bind.At(addr))
}

// tellPath tells where packets go, once that has answered.
func (t *Tunnel) tellPath() {
	primary, _ := t.far.race.Paths()
	if !t.far.race.Won() || primary == t.told {
		return
	}
	t.told = primary
	t.tell(Event{Kind: EventPath, Path: t.kindOf(primary), Remote: primary.Addr()})
}
