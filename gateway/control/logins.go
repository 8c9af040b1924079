package control

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/boothwire/boothwire/gateway/control/internal/store"
)

// Login is what control remembers of somebody who is signed in at its console. The
// secret of his browser is not here, nor what opens Refresh.
type Login struct {
	ID      string // no secret
	Hash    string // of the browser's secret
	Source  string // who vouches for him
	Name    string
	Subject string   // who he is there
	Groups  []string // that he is a member of there
	Refresh string   // by which he can be asked about again; sealed
	Began   time.Time
	Seen    time.Time // when he last did something
	// Confirmed is when Source last vouched for him.
	Confirmed time.Time
}

// Logins are those of one term of a Control, in its database. They are safe for
// concurrent use.
type Logins struct {
	c    *Control
	term context.Context
}

const (
	// maxLogins bounds the logins that are kept.
	maxLogins = 10000
	// loginAge is when one is thrown away that no console has ended: none lasts so long.
	loginAge = 31 * 24 * time.Hour
	// keepTerm is how long what was begun in a lead goes on after it has lapsed: as long
	// as a database that is away may take to come back. Who follows may have ended it.
	keepTerm = time.Minute
)

// Logins are for the console beside this control. Its process decides about them as long
// as their term lasts; nothing is written after that.
func (c *Control) Logins() *Logins {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Logins{c, c.term}
}

// Logins are those of the Control that this member is; nil while it has not got the lead.
func (m *Member) Logins() *Logins {
	if c, _, _ := m.deciding(); c != nil {
		return c.Logins()
	}
	return nil
}

// Term ends when this process does not decide any more: another does, or may.
func (l *Logins) Term() context.Context { return l.term }

// Decides reports whether this process decides now. At a moment of the term at which it
// does not, another may have ended a login of which this one does not know.
func (l *Logins) Decides() bool { return l.term.Err() == nil && l.c.leading() }

// All returns what is kept, the latest first. What Drop failed to remove in a term before
// is removed first: to be about to is not enough for who reads it now.
func (l *Logins) All(ctx context.Context) ([]Login, error) {
	if err := l.dropOwed(ctx); err != nil {
		return nil, err
	}
	rows, err := l.c.store.Logins(ctx, maxLogins)
	if err != nil {
		return nil, err
	}
	list := make([]Login, len(rows))
	for i, r := range rows {
		list[i] = Login(r)
	}
	return list, nil
}

// Put writes a login, and removes those that end for it.
func (l *Logins) Put(ctx context.Context, in Login, ended ...string) error {
	return l.do(ctx, func(tx *store.Tx) error {
		return errors.Join(tx.DeleteLogins(ended...), tx.PutLogin(store.Login(in)))
	})
}

// Drop removes logins, now or, if that fails, as soon as it can be done.
func (l *Logins) Drop(ctx context.Context, ids ...string) error {
	l.owe(ids, true)
	if err := l.do(ctx, func(tx *store.Tx) error { return tx.DeleteLogins(ids...) }); err != nil {
		l.Forget(ids...)
		return err
	}
	l.owe(ids, false)
	return nil
}

// owe notes that logins have ended of which that is not written, or is.
func (l *Logins) owe(ids []string, owed bool) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	for _, id := range ids {
		if owed {
			l.c.undropped[id] = struct{}{}
		} else {
			delete(l.c.undropped, id)
		}
	}
}

// dropOwed removes what Drop failed to.
func (l *Logins) dropOwed(ctx context.Context) error {
	l.c.mu.Lock()
	ids := slices.Collect(maps.Keys(l.c.undropped))
	l.c.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	return l.Drop(ctx, ids...)
}

// Forget removes logins soon.
func (l *Logins) Forget(ids ...string) {
	for _, id := range ids {
		l.c.store.Later("login/"+id, func(tx *store.Tx) error { return tx.DeleteLogins(id) })
	}
}

// See notes, soon, when a user was last there.
func (l *Logins) See(id string, at time.Time) {
	l.c.store.Later("login seen/"+id, func(tx *store.Tx) error { return tx.SeeLogin(id, at) })
}

func (l *Logins) do(ctx context.Context, f func(*store.Tx) error) error {
	if l.term.Err() != nil {
		return net.ErrClosed
	}
	return l.c.store.Do(ctx, f)
}

// beginTerm is at the start, and when a lead that had lapsed for long is back; mu is held.
func (c *Control) beginTerm() {
	if c.term == nil || c.term.Err() != nil {
		c.term, c.endTerm = context.WithCancel(c.ctx)
	}
}
