package tunnel

import (
	"fmt"
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

// kindOf is how the path to an address travels.
func (t *Tunnel) kindOf(addr netip.AddrPort) PathKind {
	for _, o := range t.opens {
		if o.addr == addr && addr.IsValid() {
			return o.kind()
		}
	}
	for _, p := range t.config().Paths {
		if p.Addr == addr && p.Kind != "" {
			return p.Kind
		}
	}
	if !addr.IsValid() {
		return ""
	}
	return Direct
}

// tellPath tells where packets go, once that has answered.
func (t *Tunnel) tellPath() {
	primary, _ := t.far.race.Paths()
	if !t.far.race.Won() || primary == t.told {
		return
	}
	t.told = primary
	t.tell(Event{Kind: EventPath, Path: t.kindOf(primary), Remote: primary})
}
