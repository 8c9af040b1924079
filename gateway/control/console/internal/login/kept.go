package login

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/boothwire/boothwire/gateway/control"
)

// A Keeper keeps logins beyond this process; *control.Logins does, in control's database.
// What All returns are those of its term: only this process changes them until it ends.
type Keeper interface {
	Term() context.Context
	// Decides is false while another may decide, though the term goes on.
	Decides() bool
	All(ctx context.Context) ([]control.Login, error)
	Put(ctx context.Context, l control.Login, ended ...string) error
	See(id string, at time.Time)
	Drop(ctx context.Context, ids ...string) error
	Forget(ids ...string)
}

// ahead is how far another process's clock may be.
const ahead = 5 * time.Minute

// settle makes these the logins of the present term: what another process, or this one
// before, has begun and not ended.
func (s *Logins) settle(ctx context.Context) error {
	if s.cfg.Keeper == nil {
		return nil
	}
	if s.keptBy() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, keepFor)
	defer cancel()
	select {
	case s.loading <- struct{}{}:
		defer func() { <-s.loading }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrNotKept, ctx.Err())
	}
	if s.keptBy() != nil {
		return nil
	}
	k := s.cfg.Keeper()
	if k == nil || k.Term().Err() != nil {
		return fmt.Errorf("%w: nobody decides", ErrNotKept)
	}
	list, err := k.All(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	s.take(k, list)
	return nil
}

// keptBy is the keeper of a term that goes on; nil: there is none.
func (s *Logins) keptBy() Keeper {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keeper == nil || s.keeper.Term().Err() != nil {
		return nil
	}
	return s.keeper
}

// decides reports whether nobody else can have ended a login that there is here.
func (s *Logins) decides() bool {
	k := s.keptBy()
	return s.cfg.Keeper == nil || k != nil && k.Decides()
}

// take begins a term with what was kept, the latest first.
func (s *Logins) take(k Keeper, list []control.Login) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	if s.closed {
		return
	}
	users := make(map[string]*Login)
	each := make(map[string]int)
	var ended []string
	for _, row := range list {
		l := s.recall(row)
		if l != nil {
			first := users[l.User.Name]
			if first == nil {
				first, users[l.User.Name] = l, l
			}
			each[l.User.Name]++
			// Of two that cannot both be the same user the latest is.
			if !same(first.User, l.User) || first.mark != l.mark || first.subject != l.subject || each[l.User.Name] > maxEach {
				l = nil
			}
		}
		if l == nil {
			ended = append(ended, row.ID)
			continue
		}
		s.add(l)
	}
	k.Forget(ended...)
	s.keeper = k
	s.stop = context.AfterFunc(k.Term(), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.keeper == k {
			s.clear()
		}
	})
}

// recall is a login that was kept; nil: it has ended since. mu is held.
func (s *Logins) recall(row control.Login) *Login {
	hash, err := base64.RawURLEncoding.DecodeString(row.Hash)
	u, ok := s.cfg.Recall(row)
	if err != nil || len(hash) != sha256.Size || !ok || row.Began.After(time.Now().Add(ahead)) {
		return nil
	}
	l := newLogin(row.ID, u, row.Source, row.Subject, row.Seen)
	l.hash, l.began, l.confirmed, l.sealed = [sha256.Size]byte(hash), row.Began, row.Confirmed, row.Refresh
	l.who = Known{Name: row.Name, Subject: row.Subject, Groups: row.Groups}
	if s.left(l) <= 0 {
		return nil
	}
	return l
}

// keep writes a login down, and that others ended for it.
func (s *Logins) keep(ctx context.Context, l *Login, ended ...string) error {
	k := s.keptBy()
	switch {
	case s.cfg.Keeper == nil:
		return nil
	case k == nil:
		return fmt.Errorf("%w: nobody decides", ErrNotKept)
	}
	// Whoever asked may go: half of it is not to be written.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepFor)
	defer cancel()
	l.writing.Lock() // or what was before could be written last
	defer l.writing.Unlock()
	if err := k.Put(ctx, l.row(), ended...); err != nil {
		return fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	return nil
}

// forget has logins that have ended here end where they are kept.
func (s *Logins) forget(ids ...string) {
	if k := s.keptBy(); k != nil {
		k.Forget(ids...)
	}
}

// row is a login as it is kept.
func (l *Login) row() control.Login {
	l.mu.Lock()
	defer l.mu.Unlock()
	return control.Login{
		ID: l.ID, Hash: base64.RawURLEncoding.EncodeToString(l.hash[:]), Source: l.mark, Name: l.who.Name, Subject: l.who.Subject,
		Groups: l.who.Groups, Refresh: l.sealed, Began: l.began, Seen: l.last, Confirmed: l.confirmed,
	}
}
