package operator

import (
	"context"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel"
)

// Renew is a renewal now, of which there is one a minute.
func (s *Session) Renew(ctx context.Context) error { return s.renewOnce(ctx) }

// Prepare makes the ways of a later grant, before the tunnel has it.
func (s *Session) Prepare(g *keys.Grant, relays []keys.Relay) {
	s.paths(new(tunnel.Config), g, relays, nil)
}
