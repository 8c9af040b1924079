package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel"
)

// An end-to-end session ends by itself minutes after its operator's tool or control has
// gone: it lives by renewals.
const (
	renewEvery = time.Minute
	renewSoon  = 5 * time.Second // after a failure
	renewTwice = 3 * time.Second // the packet may be lost, and the same again prolongs nothing
)

// renew keeps an end-to-end session alive until ctx ends, and takes its later grants.
func (s *Session) renew(ctx context.Context) {
	wait := renewEvery
	for {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-s.revised:
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			return
		}
		wait = renewEvery
		if err := s.renewOnce(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("session not renewed", zap.Error(err))
			wait = renewSoon
		}
	}
}

func (s *Session) renewOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	now, err := s.ctl.RenewSession(ctx, s.id)
	if err != nil {
		return err
	}
	if err := s.revise(ctx, now); err != nil {
		return err
	}
	if now.Renewal == "" {
		return nil
	}
	for range 2 {
		if err := s.tunnel.SendRenew([]byte(now.Renewal)); err != nil {
			return err
		}
		select {
		case <-time.After(renewTwice):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// revise brings a later grant into the tunnel: the device has another key, or the
// session another node.
func (s *Session) revise(ctx context.Context, now client.Session) error {
	if now.Grant == "" {
		return nil
	}
	g, err := s.roots.VerifyGrant([]byte(now.Grant))
	if err != nil {
		return fmt.Errorf("operator: control's grant: %w", err)
	}
	old := s.Grant()
	if g.Rev <= old.Rev {
		return nil
	}
	if err := s.accepts(g, old.Device); err != nil {
		return err
	}
	if (g.Far.Node == "") != (old.Far.Node == "") || !sameAddresses(g, old) {
		return errors.New("operator: control's grant is of another kind or address")
	}
	if err := s.tunnel.Update(ctx, s.config(g, now)); err != nil {
		return fmt.Errorf("operator: bring revision %d into the tunnel: %w", g.Rev, err)
	}
	s.mu.Lock()
	s.grant = g
	s.mu.Unlock()
	s.log.Info("grant updated", zap.Int("rev", g.Rev))
	return nil
}

func sameAddresses(a, b *keys.Grant) bool {
	return len(a.Addresses) > 0 && len(b.Addresses) > 0 && a.Addresses[0] == b.Addresses[0]
}

// config is what a grant brings up at this end.
func (s *Session) config(g *keys.Grant, now client.Session) *tunnel.Config {
	t := tunnel.ForOperator(g, s.key)
	t.Mode, t.Name, t.MTU, t.Policy, t.Logger = s.cfg.Mode, s.cfg.Name, s.cfg.MTU, s.cfg.Path, s.log
	t.Lifetime = 0 // others may extend the session; control and the far end end it
	s.paths(t, g, now.Relays, now.STUN)
	return t
}
