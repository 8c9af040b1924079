package tunnel

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/internal/bind"
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
			f.path.NetworkChanged(now)
		}
	}
}

// moved takes what WireGuard has found by itself: the far end at another address.
func (t *Tunnel) moved(r roam) {
	for _, f := range []*far{t.far, t.next} {
		if f != nil && f.id == r.far {
			f.path.Roamed(t.gate.Now(), bind.At(r.addr))
			f.point()
			t.dirty = true
		}
	}
}

// kindOf is how a route travels.
func (t *Tunnel) kindOf(r bind.Route) PathKind {
	if r.IsZero() {
		return ""
	}
	if w := t.opened(r); w != nil {
		return w.path.kind()
	}
	for _, p := range t.config().Paths {
		if bind.At(p.Addr) == r {
			return p.kind()
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
	if w := t.opened(r); w != nil {
		return w.remote
	}
	return ""
}

// tellPath tells where packets go, once that has answered, and asks anew how large
// they may be there. Whoever hears of it finds it in Status.
func (t *Tunnel) tellPath() {
	primary, _ := t.far.path.Paths()
	if !t.far.path.Won() || primary == t.told {
		return
	}
	first := t.told.IsZero()
	t.told, t.dirty = primary, true
	t.show(t.gate.Now())
	t.toldWhy = t.pathWhy
	t.tell(Event{Kind: EventPath, Path: t.kindOf(primary), Remote: primary.Addr()})
	if now := t.gate.Now(); !first && t.far.dog.LastProof() != 0 {
		t.sizer.Start(now)
		t.prove(t.far, now)
	}
}

// sooner is the earlier of two times of which 0 is never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
