package control

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/api"
	"github.com/boothwire/boothwire/gateway/control/internal/auth"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/keys"
)

// OpenSession implements api.Backend.
func (b backend) OpenSession(ctx context.Context, u auth.User, r client.OpenRequest) (client.Session, error) {
	return b.c.openSession(ctx, u, r)
}

// SessionGrant implements api.Backend.
func (b backend) SessionGrant(ctx context.Context, u auth.User, id, operator string) (client.Session, error) {
	v, err := b.c.grantFor(u, id, operator)
	if errors.Is(err, errNotFound) {
		return client.Session{}, b.gone(ctx, u, id)
	}
	return v, err
}

// ExtendSession implements api.Backend.
func (b backend) ExtendSession(ctx context.Context, u auth.User, id string, lifetime time.Duration) (client.Session, error) {
	return b.c.extendSession(ctx, u, id, lifetime)
}

// CloseSession implements api.Backend.
func (b backend) CloseSession(ctx context.Context, u auth.User, id string, whom api.Whom) (client.Session, error) {
	v, err := b.c.closeSession(u, id, whom)
	if errors.Is(err, errNotFound) {
		// One that is over is closed already.
		return b.Session(ctx, u, id)
	}
	return v, err
}

// RenewSession implements api.Backend.
func (b backend) RenewSession(ctx context.Context, u auth.User, id string) (client.Session, error) {
	v, err := b.c.renewSession(u, id)
	if errors.Is(err, errNotFound) {
		return client.Session{}, b.gone(ctx, u, id)
	}
	return v, err
}

// gone is why a session cannot be changed about which nothing is left to be done.
func (b backend) gone(ctx context.Context, u auth.User, id string) error {
	if _, err := b.Session(ctx, u, id); err != nil {
		return err
	}
	return fail(http.StatusConflict, keys.ReasonClosed, "the session is over")
}

// MayOffer implements api.Backend.
func (b backend) MayOffer(ctx context.Context, u auth.User, id string) error {
	_, err := b.c.theirs(u, id)
	if errors.Is(err, errNotFound) {
		return b.gone(ctx, u, id)
	}
	return err
}

// SendOffer implements api.Backend.
func (b backend) SendOffer(ctx context.Context, u auth.User, id, sealed string) error {
	err := b.c.sendOffer(u, id, sealed)
	if errors.Is(err, errNotFound) {
		return b.gone(ctx, u, id)
	}
	return err
}

// WatchOffers implements api.Backend.
func (b backend) WatchOffers(ctx context.Context, u auth.User, id string, after uint64) ([]client.Offer, uint64, error) {
	return b.c.watchOffers(ctx, u, id, after)
}

// MayFollow implements api.Backend.
func (b backend) MayFollow(u auth.User) error { return b.may(u, auth.Revoked) }

// WatchRevocations implements api.Backend.
func (b backend) WatchRevocations(ctx context.Context, u auth.User, after uint64) ([]client.Revocation, uint64, error) {
	if err := b.MayFollow(u); err != nil {
		return nil, 0, err
	}
	return b.c.watchRevoked(ctx, after)
}

// Session implements api.Backend.
func (b backend) Session(ctx context.Context, u auth.User, id string) (client.Session, error) {
	if s, err := b.c.sessionFor(u, id); err == nil {
		b.c.mu.Lock()
		defer b.c.mu.Unlock()
		return s.show(), nil
	}
	// Its last row may still be on its way.
	if err := b.c.store.Flush(ctx); err != nil {
		return client.Session{}, err
	}
	r, err := b.c.store.Session(ctx, id)
	if errors.Is(err, store.ErrAbsent) {
		return client.Session{}, errNotFound
	}
	if err != nil {
		return client.Session{}, err
	}
	return showRow(r), b.mayView(u, r.Device)
}

// mayView decides whether u may see a device, or what is left of one that was
// deleted.
func (b backend) mayView(u auth.User, device string) error {
	b.c.mu.Lock()
	d := b.c.devices[device]
	b.c.mu.Unlock()
	group := ""
	if d != nil {
		group = d.row.Group
	}
	return b.c.policy().Authorise(u, auth.Request{Action: auth.View, Device: device, Group: group})
}

// WatchSession implements api.Backend.
func (b backend) WatchSession(ctx context.Context, u auth.User, id string, after uint64) (client.Session, uint64, error) {
	for {
		s, err := b.c.sessionFor(u, id)
		if err != nil {
			// Nothing is left to be done about it: the last word is said to everyone who asks.
			v, err := b.Session(ctx, u, id)
			return v, uint64(max(v.Closed.UnixMicro(), 0)), err
		}
		b.c.mu.Lock()
		v, version, changed := s.show(), s.version, s.changed
		b.c.mu.Unlock()
		if version != after {
			return v, version, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return client.Session{}, 0, ctx.Err()
		case <-b.c.ctx.Done():
			return client.Session{}, 0, b.c.ctx.Err()
		}
	}
}

// Sessions implements api.Backend.
func (b backend) Sessions(ctx context.Context, u auth.User, q api.Query) ([]client.Session, string, error) {
	if err := b.may(u, auth.View); err != nil {
		return nil, "", err
	}
	if q.Open {
		list := b.open(u, q)
		return list, "", nil
	}
	if err := b.c.store.Flush(ctx); err != nil {
		return nil, "", err
	}
	rows, err := b.c.store.Sessions(ctx, store.SessionFilter{Device: q.Device, After: q.After, Limit: q.Limit})
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(rows) == q.Limit {
		next = rows[len(rows)-1].ID
	}
	var list []client.Session
	for _, r := range rows {
		b.c.mu.Lock()
		v := showRow(r)
		if s := b.c.sessions[r.ID]; s != nil {
			v = s.show()
		}
		b.c.mu.Unlock()
		if q.Device == "" {
			v.Samples = nil
		}
		if b.mayView(u, v.Device) == nil {
			list = append(list, v)
		}
	}
	return list, next, nil
}

// showAtOnce is how many sessions are shown before others have the lock.
const showAtOnce = 100

// open lists what is not over; all of it is in memory.
func (b backend) open(u auth.User, q api.Query) []client.Session {
	b.c.mu.Lock()
	all := make([]*session, 0, len(b.c.sessions))
	for _, s := range b.c.sessions {
		all = append(all, s)
	}
	b.c.mu.Unlock()
	var list []client.Session
	for some := range slices.Chunk(all, showAtOnce) {
		b.c.mu.Lock()
		for _, s := range some {
			if b.lists(u, q, s) {
				list = append(list, s.show())
			}
		}
		b.c.mu.Unlock()
	}
	if q.Device == "" {
		for i := range list {
			list[i].Samples = nil
		}
	}
	slices.SortFunc(list, byAge)
	return list
}

// lists reports whether s stands in a list of what is not over; mu is held.
func (b backend) lists(u auth.User, q api.Query, s *session) bool {
	d := s.dev.row
	return (q.Device == "" || d.ID == q.Device) && !client.SessionState(s.m.State).Final() &&
		b.c.policy().Authorise(u, auth.Request{Action: auth.View, Device: d.ID, Group: d.Group}) == nil
}
