package operator

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// follow takes this end to the nodes to which control moves the session, and to what
// others extend it, until ctx ends. The device is there already, so connections through
// the tunnel go on.
func (s *Session) follow(ctx context.Context) {
	for {
		select {
		case <-s.revised:
		case <-ctx.Done():
			return
		}
		for {
			err := s.followOnce(ctx)
			if err == nil || ctx.Err() != nil {
				break
			}
			s.log.Warn("session not followed to its node", zap.Error(err))
			select {
			case <-time.After(followAgain):
			case <-ctx.Done():
				return
			}
		}
	}
}

// followAgain is the pause after an attempt that failed.
const followAgain = time.Second

func (s *Session) followOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	now, err := s.ctl.SessionGrant(ctx, s.id, s.self)
	if err != nil {
		return err
	}
	return s.revise(ctx, now)
}
