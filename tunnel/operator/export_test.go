package operator

import "context"

// Renew is a renewal now, of which there is one a minute.
func (s *Session) Renew(ctx context.Context) error { return s.renewOnce(ctx) }
