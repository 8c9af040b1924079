package agent

import (
	"context"
	"net"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/nat"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/internal/find"
)

// capEndToEnd tells control that this agent takes grants whose far end is an operator's
// own tool.
const capEndToEnd = "end_to_end"

// paths adds to c the ways that have to be found: a leg at the grant's relays, and, to
// an operator's tool, a direct one.
func (s *session) paths(c *tunnel.Config, g *keys.Grant, key keys.PrivateKey) {
	if len(g.Relays) > 0 {
		c.Paths = append(c.Paths, tunnel.Path{Name: "relay", Kind: tunnel.Relay, Open: func(ctx context.Context, _ net.PacketConn) (net.Conn, error) {
			if g.Far.Node != "" && !find.Late(ctx, s.connected) {
				return nil, context.Cause(ctx)
			}
			return s.leg(ctx, g.Relays, key)
		}})
		if leg := s.relay.Load(); leg != nil && s.samePair(c) {
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

// samePair reports whether c is between the keys that the tunnel has: a leg takes no
// later tokens of others, and the tunnel makes another leg with those.
func (s *session) samePair(c *tunnel.Config) bool {
	s.a.mu.Lock()
	now := s.cfg
	s.a.mu.Unlock()
	return now != nil && now.Key.Equal(c.Key) && now.Far.Key == c.Far.Key
}

// connected reports whether the tunnel has a proof and nothing speaks against it.
func (s *session) connected() bool {
	s.a.mu.Lock()
	t := s.tunnel
	s.a.mu.Unlock()
	return t != nil && t.Status().State == tunnel.Connected
}

// leg dials the relays of a grant, and waits for the far end: a handshake that begins
// before it is there has to begin again.
func (s *session) leg(ctx context.Context, relays []keys.Relay, key keys.PrivateKey) (net.Conn, error) {
	c, err := relay.Dial(ctx, relays, key, s.a.cfg.Relay)
	if err != nil {
		return nil, err
	}
	s.relay.Store(c)
	if err := c.Meet(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// accept waits for the operator's tool to look for a direct path, and looks too. Where
// one attempt found none the next is the operator's to begin.
func (s *session) accept(ctx context.Context, sock net.PacketConn, g *keys.Grant, secret []byte) (net.Conn, error) {
	c, err := nat.Accept(ctx, sock, s.line, secret, s.find.Config(ctx, sock, g, g.STUN, s.log))
	if err != nil {
		return nil, s.find.Failed(err, true)
	}
	s.log.Info("direct path", zap.Stringer("pair", c.Pair()))
	return s.find.Conn(c), nil
}

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
