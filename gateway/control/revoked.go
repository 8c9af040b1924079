package control

import (
	"context"
	"slices"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
)

const maxRevoked = 1 << 17

// revoked are the sessions that ended lately, for relays; Control.mu guards it.
type revoked struct {
	keep    time.Duration // as long as a session at most: none of its tokens is in force any more
	list    []revocation  // in the order in which they ended
	last    uint64
	changed chan struct{} // closed at each
}

type revocation struct {
	session string
	n       uint64
	at      time.Time
}

func (r *revoked) add(session string, at time.Time) {
	r.last++
	r.list = append(r.list, revocation{session, r.last, at})
	if len(r.list) > maxRevoked {
		r.list = r.list[1:]
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *revoked) expire(now time.Time) {
	i := 0
	for i < len(r.list) && now.Sub(r.list[i].at) >= r.keep {
		i++
	}
	if i > 0 {
		r.list = append([]revocation(nil), r.list[i:]...)
	}
}

// since returns what has a number above after, the earliest first.
func (r *revoked) since(after uint64, now time.Time) []client.Revocation {
	var list []client.Revocation
	for i := len(r.list) - 1; i >= 0 && r.list[i].n > after; i-- {
		if now.Sub(r.list[i].at) < r.keep {
			list = append(list, client.Revocation{Session: r.list[i].session})
		}
	}
	slices.Reverse(list)
	return list
}

// watchRevoked returns the sessions that are over with numbers above after, once
// there is one.
func (c *Control) watchRevoked(ctx context.Context, after uint64) ([]client.Revocation, uint64, error) {
	for {
		c.mu.Lock()
		list, last, changed := c.revoked.since(after, c.cfg.Now()), c.revoked.last, c.revoked.changed
		c.mu.Unlock()
		if len(list) > 0 {
			return list, last, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-c.ctx.Done():
			return nil, 0, c.ctx.Err()
		}
	}
}
