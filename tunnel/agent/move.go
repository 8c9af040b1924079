package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/boothwire/boothwire/tunnel"
)

// moveFor is how long another node is tried by its addresses alone, beside the one
// before. They answer in a round trip, or not at all.
const moveFor = 10 * time.Second

// follow brings the later grants into the tunnel, each as soon as it comes: it says all
// anew, so that nobody has to wait for a move to a node that does not answer.
func (s *session) follow(ctx context.Context, t *tunnel.Tunnel) {
	var work sync.WaitGroup
	defer work.Wait()
	stop := func() {}
	for token := range s.line.Grants(ctx) {
		stop()
		work.Wait()
		one, cancel := context.WithCancel(ctx)
		stop = cancel
		work.Go(func() {
			defer cancel()
			if err := s.update(one, t, token); err != nil {
				s.refuse(t, err)
			}
		})
	}
	stop()
}

// bring makes the tunnel what cfg says. To another node it goes make before break;
// who may reach what changes at once.
func (s *session) bring(ctx context.Context, t *tunnel.Tunnel, cfg *tunnel.Config) error {
	s.a.mu.Lock()
	old := s.cfg
	s.a.mu.Unlock()
	if cfg.Far.Key == old.Far.Key || !cfg.Key.Equal(old.Key) {
		return t.Update(ctx, cfg)
	}
	stay := *cfg
	stay.Far.Key, stay.Far.Proof, stay.Paths = old.Far.Key, old.Far.Proof, old.Paths
	if err := t.Update(ctx, &stay); err != nil {
		return err
	}
	try, cancel := context.WithTimeout(ctx, moveFor)
	defer cancel()
	err := t.Update(try, cfg)
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	// A relay may know the way: it takes one leg at a time.
	relayed := slices.ContainsFunc(cfg.Paths, func(p tunnel.Path) bool { return p.Kind == tunnel.Relay })
	if now := t.Status(); relayed && (now.State != tunnel.Connected || now.Path == tunnel.Relay) {
		swap := *cfg
		swap.Swap = true
		return t.Update(ctx, &swap)
	}
	return t.Update(ctx, cfg)
}
