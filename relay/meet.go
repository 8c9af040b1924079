package relay

import "context"

// Meet waits until the other end has had a leg: what is written before is lost. It
// fails when ctx ends or c is over; c is the caller's still.
func (c *Conn) Meet(ctx context.Context) error {
	select {
	case <-c.met:
		return nil
	case <-c.ctx.Done():
		return c.reason()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
