package agent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/nat"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/tunnel"
)

// capEndToEnd tells control that this agent takes grants whose far end is an operator's
// own tool.
const capEndToEnd = "end_to_end"

// relayAfter is how long a node's own addresses get to answer before its relay is
// dialled: a leg costs both ends a connection of TLS.
const relayAfter = 300 * time.Millisecond

// paths adds to c the ways that have to be found: a leg at the grant's relays, and, to
// an operator's tool, a direct one.
func (s *session) paths(c *tunnel.Config, g *keys.Grant, key keys.PrivateKey) {
	if len(g.Relays) > 0 {
		c.Paths = append(c.Paths, tunnel.Path{Name: "relay", Kind: tunnel.Relay, Open: func(ctx context.Context, _ net.PacketConn) (net.Conn, error) {
			if g.Far.Node != "" && !s.needsRelay(ctx) {
				return nil, context.Cause(ctx)
			}
			return s.leg(ctx, g.Relays, key)
		}})
		if leg := s.relay.Load(); leg != nil {
			leg.Renew(g.Relays)
		}
	}
	if g.Far.Node != "" {
		return
	}
	secret := g.ICESecret(key)
	c.Paths = append(c.Paths, tunnel.Path{Name: "ice", Kind: tunnel.Direct, Open: func(ctx context.Context, sock net.PacketConn) (net.Conn, error) {
		return s.accept(ctx, sock, g, secret)
	}})
	c.Renew = s.renewed
}

// needsRelay waits until the tunnel has no proof, or no longer one; it is false when
// ctx ends first.
func (s *session) needsRelay(ctx context.Context) bool {
	tick := time.NewTicker(relayAfter)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		s.a.mu.Lock()
		t := s.tunnel
		s.a.mu.Unlock()
		if t == nil || t.Status().State != tunnel.Connected {
			return true
		}
	}
}

// leg dials the relays of a grant.
func (s *session) leg(ctx context.Context, relays []keys.Relay, key keys.PrivateKey) (net.Conn, error) {
	c, err := relay.Dial(ctx, relays, key, s.a.cfg.Relay)
	if err != nil {
		return nil, err
	}
	s.relay.Store(c)
	return c, nil
}

// accept waits for the operator's tool to look for a direct path, and looks too. It
// waits on where one attempt found none: the next is the operator's to begin.
func (s *session) accept(ctx context.Context, sock net.PacketConn, g *keys.Grant, secret []byte) (net.Conn, error) {
	for {
		c, err := nat.Accept(ctx, sock, s.line, secret, &nat.Config{STUN: g.STUN, Refuse: inside(g), Logger: s.log})
		switch {
		case err == nil:
			s.log.Info("direct path", zap.Stringer("pair", c.Pair()))
			return pathConn{c}, nil
		case !errors.Is(err, nat.ErrNoPath) || ctx.Err() != nil:
			return nil, err
		}
		s.log.Info("no direct path", zap.Error(err))
	}
}

// inside are the addresses within the tunnel: no way to the far end leads through it.
func inside(g *keys.Grant) []netip.Prefix {
	var all []netip.Prefix
	add := func(a netip.Addr) { all = append(all, netip.PrefixFrom(a, a.BitLen())) }
	for _, a := range g.Addresses {
		add(a)
	}
	add(g.Far.Proof)
	for _, o := range g.Operators {
		add(o.Address)
	}
	return all
}

// pathConn tells the tunnel of its candidates.
type pathConn struct{ *nat.Conn }

func (c pathConn) Why() string { return c.Pair().String() }

// renewed takes control's word, which came through the tunnel, that the session goes on.
func (s *session) renewed(token []byte) {
	total, err := s.a.device.Renew(token)
	if err != nil {
		s.log.Warn("renewal refused", zap.String("code", code(err)), zap.Error(err))
		return
	}
	s.a.mu.Lock()
	t, c := s.tunnel, s.cfg
	s.a.mu.Unlock()
	if t == nil || c == nil || c.Lifetime == total {
		return
	}
	next := *c
	next.Lifetime = total
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := t.Update(ctx, &next); err != nil {
		s.log.Warn("renewal not taken", zap.Error(err))
		return
	}
	s.a.mu.Lock()
	if s.cfg == c { // no later grant came meanwhile
		s.cfg = &next
		s.shown.Lifetime = total
		s.a.now.Session.Lifetime = total
	}
	s.a.mu.Unlock()
	s.log.Info("session renewed", zap.Duration("lifetime", total))
}
