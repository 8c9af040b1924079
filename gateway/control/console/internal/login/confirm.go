package login

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
)

const (
	// maxAsking bounds the questions to the provider at a time.
	maxAsking = 8
	// askAgain is how long after a question without an answer the next one is.
	askAgain = time.Minute
)

// armAsk has the provider asked about the user of l again when it is time, if it gave
// what is needed for that; mu is held.
func (s *Logins) armAsk(l *Login) {
	p := s.cfg.Provider
	if p == nil {
		return
	}
	l.mu.Lock()
	can, due := l.who.Refresh != "", time.Until(l.confirmed.Add(p.cfg.Recheck))
	l.mu.Unlock()
	if can {
		s.askIn(l, due-rand.N(max(p.cfg.Recheck/10, 1))) // not all at once, and none late
	}
}

// askIn is armAsk at a time; mu is held.
func (s *Logins) askIn(l *Login, wait time.Duration) {
	wait = max(wait, 0)
	if l.ask == nil {
		l.ask = time.AfterFunc(wait, func() { s.confirm(l) })
		return
	}
	l.ask.Reset(wait)
}

// confirm asks the provider who the user of l is now. A login ends if he is nobody any
// more, or may do something else; whoever is still there signs in again.
func (s *Logins) confirm(l *Login) {
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	case <-l.ctx.Done():
		return
	}
	l.mu.Lock()
	before := l.who
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(l.ctx, askTimeout)
	who, err := s.cfg.Provider.Again(ctx, before)
	cancel()
	wait, spare, verdict := s.heard(l, before, who, err)
	if spare && context.Cause(l.ctx) != error(errMoved) {
		s.Decline(who)
	}
	if l.ctx.Err() != nil {
		return
	}
	if verdict != nil {
		s.cfg.Logger.Info("the provider does not vouch for a user any more", zap.String("user", l.User.Name), zap.Error(verdict))
		s.Disown(l.mark, l.subject)
		return
	}
	if err := s.keep(context.Background(), l); err != nil {
		s.cfg.Logger.Warn("a login was not written down", zap.String("user", l.User.Name), zap.Error(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.all[l.hash] != l:
		if s.keeper != nil && context.Cause(l.ctx) != error(errMoved) {
			s.keeper.Forget(l.ID) // it ended while it was written
		}
	case wait > 0:
		s.askIn(l, wait)
	default:
		s.armAsk(l)
	}
}

// heard takes an answer of the provider about the user of l, and says when to ask again
// at the latest, 0: as usual, or why he is not the same any more. spare tells that the
// refresh token of the answer is of no use.
func (s *Logins) heard(l *Login, before, who Known, err error) (wait time.Duration, spare bool, verdict error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil || l.who.Refresh != before.Refresh {
		return 0, who.Refresh != before.Refresh, nil // he has signed in again meanwhile, or out
	}
	l.who.Refresh, l.sealed = who.Refresh, l.seal.close(who.Refresh) // another one each time, perhaps
	switch {
	case errors.Is(err, ErrGone):
		return 0, false, err
	case errors.Is(err, errSilent) && l.told:
		return 0, false, ErrNoRole // of groups that it told before there is none left
	case errors.Is(err, errSilent):
		// It never tells again: MaxAge is what bounds this login.
		l.who.Refresh, l.sealed = "", ""
		return 0, true, nil
	case err != nil:
		s.cfg.Logger.Warn("the provider was not heard about a user", zap.String("user", l.User.Name), zap.Error(err))
		return min(askAgain, s.cfg.Provider.cfg.Recheck), false, nil
	}
	u, err := s.cfg.Provider.User(who)
	if err != nil || !same(u, l.User) {
		return 0, false, errors.Join(err, errChanged)
	}
	l.who, l.confirmed, l.told = who, time.Now(), true
	return 0, false, nil
}

var errChanged = errors.New("he is somebody else now, or may do something else")

// Renew reports whether the browser of l should go through the provider now, which most
// often asks its user nothing: there is no other way to ask about him, and the login
// would end before long. It says so once in a while, for the provider may be away.
func (s *Logins) Renew(l *Login) bool {
	p := s.cfg.Provider
	if p == nil || l.subject == "" {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.sealed != "" || now.Sub(l.confirmed) < p.cfg.MaxAge/2 || now.Sub(l.renewal) < p.cfg.MaxAge/20 {
		return false
	}
	l.renewal = now
	return true
}
