package gateway

import (
	"context"
	"math/rand/v2"
	"time"
)

// The waits between attempts to reach control. A node is one of tens, not of
// thousands, so it may come back soon; the spread keeps them apart all the same.
const (
	shortestWait = 200 * time.Millisecond
	longestWait  = 5 * time.Second
)

// backoff is a doubling wait, each drawn between the shortest and itself.
type backoff struct{ most time.Duration }

func newBackoff() *backoff { return &backoff{2 * shortestWait} }

// next draws a wait and doubles the most of the one after.
func (b *backoff) next() time.Duration {
	d := shortestWait + rand.N(b.most-shortestWait+1)
	b.most = min(2*b.most, longestWait)
	return d
}

// reset begins anew, after something worked.
func (b *backoff) reset() { b.most = 2 * shortestWait }

// sleep waits, or returns ctx's cause.
func (b *backoff) sleep(ctx context.Context) error {
	t := time.NewTimer(b.next())
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
