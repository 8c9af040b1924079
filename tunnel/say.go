package tunnel

import (
	"context"
	"errors"
	"time"
)

// A sayer is a connection or an error that tells people more of itself.
type sayer interface{ Why() string }

// whyOf is what an error tells of itself.
func whyOf(err error) string {
	if s, ok := errors.AsType[interface {
		error
		sayer
	}](err); ok {
		return s.Why()
	}
	return ""
}

// What a connection says of itself changes when the far end's word about its network
// comes, which takes a probe: it is looked at for as long as that may take.
const (
	sayEvery = 500 * time.Millisecond
	sayFor   = 30 * time.Second
)

// watchWhy has run look again when s says another thing.
func (t *Tunnel) watchWhy(life context.Context, s sayer) {
	tick := time.NewTicker(sayEvery)
	defer tick.Stop()
	said := s.Why()
	for range sayFor / sayEvery {
		select {
		case <-life.Done():
			return
		case <-tick.C:
		}
		if now := s.Why(); now != said {
			said = now
			_ = t.do(life, func() error { t.dirty = true; return nil })
		}
	}
}
