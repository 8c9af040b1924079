package find

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/nat"
)

// relayAfter is how long a node's own addresses get to answer before its relay is
// dialled: a leg costs both ends a connection of TLS.
const relayAfter = 300 * time.Millisecond

// Late waits until a node has had its time and the tunnel to it is not connected, or
// no longer is. It returns false when ctx ends first.
func Late(ctx context.Context, connected func() bool) bool {
	tick := time.NewTicker(relayAfter)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if !connected() {
			return true
		}
	}
}

// A Finder looks for direct paths for one session.
type Finder struct {
	network *Network
	probes  sync.WaitGroup
}

// New makes the finder of a session on a network.
func New(n *Network) *Finder { return &Finder{network: n} }

// Config says how a direct path for g is looked for from the tunnel's socket. What the
// network is like is found out beside it, as long as ctx lives: nothing waits for it.
func (f *Finder) Config(ctx context.Context, sock net.PacketConn, g *keys.Grant, stun []string, log *zap.Logger) *nat.Config {
	in := inside(g)
	f.probes.Go(func() { f.network.look(ctx, sock.LocalAddr(), stun, in, log) })
	return &nat.Config{STUN: stun, Refuse: in, Logger: log, Report: func() string { return string(f.network.NAT()) }}
}

// Wait returns when nothing of the finder runs any more: once the contexts of its
// Configs have ended.
func (f *Finder) Wait() { f.probes.Wait() }

// inside are the addresses within the tunnel: no way to the far end leads through it.
func inside(g *keys.Grant) []netip.Prefix {
	var all []netip.Prefix
	add := func(a netip.Addr) {
		if a.IsValid() {
			all = append(all, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for _, a := range g.Addresses {
		add(a)
	}
	add(g.Far.Proof)
	for _, o := range g.Operators {
		add(o.Address)
	}
	return all
}
