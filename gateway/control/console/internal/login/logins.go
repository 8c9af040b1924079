package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
)

const (
	defaultIdle    = time.Hour
	defaultLongest = 12 * time.Hour
	// maxLogins bounds all logins, maxEach those of one user: the oldest ends.
	maxLogins = 10000
	maxEach   = 20
	// maxOpen bounds the requests of one login at a time, streams and WebSockets among
	// them: several times what the pages of one browser have open.
	maxOpen = 256
	// seenEvery is how often it is written down at most that a user is there.
	seenEvery = time.Minute
	// keepFor bounds how long it may take to write a login down, or to read those of before.
	keepFor = 10 * time.Second
	// overlap is how long the secret before is still good: what the browser's other pages
	// ask meanwhile is on its way with it.
	overlap = time.Minute
)

// Config of Logins.
type Config struct {
	// A login ends when its user was idle for so long, and at the longest after that
	// time; default 1 h and 12 h.
	Idle, Longest time.Duration
	// Keeper is where logins are kept beyond this process; nil: in its memory alone.
	Keeper func() Keeper
	// Recall tells who somebody is now whom a Keeper has; false: nobody any more.
	Recall func(control.Login) (control.User, bool)
	// Provider is asked about its users again; nil: there is none.
	Provider *Provider
	Logger   *zap.Logger // default silent
}

// Logins are those of one console. They are safe for concurrent use.
type Logins struct {
	cfg     Config
	loading chan struct{} // one
	asking  chan struct{} // of those that ask the provider at a time

	mu     sync.Mutex
	all    map[[sha256.Size]byte]*Login
	former map[[sha256.Size]byte]*Login // by the secret that each had before
	owed   map[[sha256.Size]byte]string // ids of those signed out of which that is not written
	in     map[string]int               // logins by subject
	spare  map[string][]string          // by subject, refresh tokens to be revoked
	stats  Stats
	keeper Keeper
	stop   func() bool // of following the keeper's term
	closed bool

	revoking sync.WaitGroup // of spare; nothing is added once closed
}

// New returns no logins yet.
func New(cfg Config) *Logins {
	if cfg.Idle <= 0 {
		cfg.Idle = defaultIdle
	}
	if cfg.Longest <= 0 {
		cfg.Longest = defaultLongest
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	s := &Logins{cfg: cfg, loading: make(chan struct{}, 1), asking: make(chan struct{}, maxAsking), all: make(map[[sha256.Size]byte]*Login)}
	s.former, s.owed = make(map[[sha256.Size]byte]*Login), make(map[[sha256.Size]byte]string)
	s.in, s.spare = make(map[string]int), make(map[string][]string)
	return s
}

// A Login is one user in one browser.
type Login struct {
	ID   string // names it; no secret
	User control.User

	ctx     context.Context
	end     context.CancelCauseFunc
	mark    string // who vouches for him
	subject string // who he is there; empty: no provider's
	writing sync.Mutex

	mu        sync.Mutex
	who       Known
	hash      [sha256.Size]byte
	former    [sha256.Size]byte // the hash before, and when it was given up
	renewed   time.Time
	began     time.Time
	last      time.Time
	seen      time.Time // last, as it is written down
	confirmed time.Time // when it was last known that he is still the same
	renewal   time.Time // when his browser was last sent to the provider again
	seal      *seal     // of who.Refresh; nil: his browser has not come yet
	sealed    string
	told      bool // asked again, the provider has told groups
	open      int  // requests
	timer     *time.Timer
	ask       *time.Timer
}

// Context ends with the login; its cause is a *client.Error.
func (l *Login) Context() context.Context { return l.ctx }

// Enter counts a request until Leave; false: there are as many as one login may have.
func (l *Login) Enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= maxOpen {
		return false
	}
	l.open++
	return true
}

// Leave is after a request.
func (l *Login) Leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
}

// Why a login ended.
var (
	errOver  = client.Refuse(http.StatusUnauthorized, "signed_out", "the login has ended")
	errMoved = client.Refuse(http.StatusServiceUnavailable, "console_moved", "this process does not decide any more: another does, or nobody")
)

// Touch says that the user of l does something.
func (s *Logins) Touch(l *Login) {
	now := time.Now()
	l.mu.Lock()
	l.last = now
	write := now.Sub(l.seen) >= seenEvery
	if write {
		l.seen = now
	}
	l.mu.Unlock()
	if k := s.keptBy(); write && k != nil {
		k.See(l.ID, now)
	}
}

// Begin makes a login of the console's own and the secret by which its browser is known.
// Older logins of that name end if they had another role or other groups: who decides
// about the user has changed his mind. mark is by what he is known again.
func (s *Logins) Begin(ctx context.Context, u control.User, mark string) (*Login, string, error) {
	return s.begin(ctx, u, mark, Known{Name: u.Name}, nil)
}

// BeginOf does so for somebody of a provider. He is refused with ErrTaken while another
// of his name is signed in: what the one has open would be the other's, too. A login
// that the browser has already goes on with a new secret if it is his; else it ends.
func (s *Logins) BeginOf(ctx context.Context, u control.User, mark string, who Known, old *Login) (*Login, string, error) {
	return s.begin(ctx, u, mark, who, old)
}

func (s *Logins) begin(ctx context.Context, u control.User, mark string, who Known, old *Login) (*Login, string, error) {
	if err := s.settle(ctx); err != nil {
		return nil, "", err
	}
	secret := random()
	l, ended, err := s.enter(u, mark, who, old, secret)
	if err != nil {
		return nil, "", err
	}
	if err := s.keep(ctx, l, ended...); err != nil {
		s.End(l)
		s.forget(ended...)
		return nil, "", err
	}
	if l.ctx.Err() != nil && s.keptBy() != nil { // while it was written
		s.forget(l.ID)
	}
	return l, secret, nil
}

// enter takes a login in, before anybody has its secret; ended are the ids of those that
// ended for it.
func (s *Logins) enter(u control.User, mark string, who Known, old *Login, secret string) (l *Login, ended []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.all {
		if o != old && o.User.Name == u.Name && (o.mark != mark || o.subject != who.Subject) && who.Subject != "" {
			s.giveUp(who.Subject, who.Refresh)
			return nil, nil, ErrTaken
		}
	}
	now := time.Now()
	if old != nil && s.all[old.hash] == old {
		if old.mark == mark && old.subject == who.Subject && same(old.User, u) {
			s.renew(old, who, secret, now)
			return old, nil, nil
		}
		ended = append(ended, s.drop(old, errOver))
	}
	l = newLogin(random(), u, mark, who.Subject, now)
	l.hash, l.who, l.began, l.confirmed = sha256.Sum256([]byte(secret)), who, now, now
	l.recognise(secret)
	if s.closed {
		l.end(errOver)
		return l, ended, nil
	}
	ended = append(ended, s.makeRoom(u)...)
	s.add(l)
	return l, ended, nil
}

func newLogin(id string, u control.User, mark, subject string, now time.Time) *Login {
	l := &Login{ID: id, User: u, mark: mark, subject: subject, last: now, seen: now}
	l.ctx, l.end = context.WithCancelCause(context.Background())
	return l
}

// renew gives a login a new secret, as its user has signed in again; mu is held.
func (s *Logins) renew(l *Login, who Known, secret string, now time.Time) {
	delete(s.all, l.hash)
	delete(s.former, l.former)
	l.mu.Lock()
	before := l.who.Refresh
	l.former, l.renewed = l.hash, now
	l.hash, l.who, l.began, l.last, l.confirmed = sha256.Sum256([]byte(secret)), who, now, now, now
	l.seal, l.sealed = nil, ""
	l.unseal(secret)
	l.mu.Unlock()
	s.all[l.hash], s.former[l.former] = l, l
	s.arm(l)
	if before != who.Refresh {
		s.giveUp(l.subject, before)
	}
}

// add takes l in; mu is held.
func (s *Logins) add(l *Login) {
	s.all[l.hash] = l
	s.in[l.subject]++
	s.arm(l)
}

// arm sets the timers of l; mu is held.
func (s *Logins) arm(l *Login) {
	if l.timer == nil {
		l.timer = time.AfterFunc(s.left(l), func() { s.look(l) })
	} else {
		l.timer.Reset(s.left(l))
	}
	s.armAsk(l)
}

// left is how long a login lasts yet, if nobody is there.
func (s *Logins) left(l *Login) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := min(time.Until(l.last.Add(s.cfg.Idle)), time.Until(l.began.Add(s.cfg.Longest)))
	if p := s.cfg.Provider; p != nil && l.subject != "" {
		left = min(left, time.Until(l.confirmed.Add(p.cfg.MaxAge)))
	}
	return left
}

func same(a, b control.User) bool {
	return a.Name == b.Name && a.Role == b.Role && slices.Equal(a.Groups, b.Groups)
}

// makeRoom ends what is in the way of a new login, and returns the ids; mu is held.
func (s *Logins) makeRoom(u control.User) (ended []string) {
	var his []*Login
	var oldest *Login
	for _, l := range s.all {
		switch {
		case l.User.Name != u.Name:
		case !same(l.User, u):
			ended = append(ended, s.drop(l, errOver))
			continue
		default:
			his = append(his, l)
		}
		if oldest == nil || l.began.Before(oldest.began) {
			oldest = l
		}
	}
	if len(his) >= maxEach {
		oldest = slices.MinFunc(his, func(a, b *Login) int { return a.began.Compare(b.began) })
		ended = append(ended, s.drop(oldest, errOver))
	} else if len(s.all) >= maxLogins {
		ended = append(ended, s.drop(oldest, errOver))
	}
	return ended
}

// look ends a login whose time is over, or looks again later.
func (s *Logins) look(l *Login) {
	s.mu.Lock()
	if s.all[l.hash] != l {
		s.mu.Unlock()
		return
	}
	if left := s.left(l); left > 0 {
		l.timer.Reset(left)
		s.mu.Unlock()
		return
	}
	id := s.drop(l, errOver)
	s.mu.Unlock()
	s.forget(id)
}

// drop ends a login, and returns its id; mu is held.
func (s *Logins) drop(l *Login, why error) string {
	delete(s.all, l.hash)
	delete(s.former, l.former)
	l.timer.Stop()
	if l.ask != nil {
		l.ask.Stop()
	}
	l.end(why)
	if s.in[l.subject]--; s.in[l.subject] == 0 {
		delete(s.in, l.subject)
	}
	l.mu.Lock()
	token := l.who.Refresh
	l.who.Refresh = ""
	l.mu.Unlock()
	if why != errMoved {
		s.giveUp(l.subject, token)
	}
	return l.ID
}

// Find returns the login whose browser shows that secret.
func (s *Logins) Find(secret string) (*Login, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := sha256.Sum256([]byte(secret))
	if l, ok := s.former[sum]; ok && l.ctx.Err() == nil && time.Since(l.renewed) < overlap {
		return l, true
	}
	l, ok := s.all[sum]
	if !ok || l.ctx.Err() != nil {
		return nil, false
	}
	if l.recognise(secret) {
		s.armAsk(l)
	}
	return l, true
}

// End ends a login here, and soon where it is kept. It is idempotent.
func (s *Logins) End(l *Login) {
	s.mu.Lock()
	if s.all[l.hash] != l {
		s.mu.Unlock()
		return
	}
	id := s.drop(l, errOver)
	s.mu.Unlock()
	s.forget(id)
}

// SignOut ends a login, for whoever may decide later too: with an error it has ended
// here, and elsewhere perhaps not.
func (s *Logins) SignOut(ctx context.Context, l *Login) error {
	s.mu.Lock()
	if s.all[l.hash] != l {
		s.mu.Unlock()
		if context.Cause(l.ctx) == error(errMoved) {
			return ErrNotKept // somebody else decides about it now
		}
		return nil
	}
	id, k := s.drop(l, errOver), s.keeper
	if k == nil {
		s.mu.Unlock()
		return nil
	}
	if len(s.owed) < maxLogins {
		s.owed[l.hash] = id
	}
	s.mu.Unlock()
	return s.signedOut(ctx, k, l.hash, id)
}

// signedOut writes down that a login has ended.
func (s *Logins) signedOut(ctx context.Context, k Keeper, hash [sha256.Size]byte, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepFor)
	defer cancel()
	if err := k.Drop(ctx, id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.owed, hash)
	return nil
}

// signOutAgain is SignOut for who shows a secret that is good no more: what could not be
// written before is written now.
func (s *Logins) signOutAgain(ctx context.Context, secret string) error {
	hash := sha256.Sum256([]byte(secret))
	s.mu.Lock()
	id, ok := s.owed[hash]
	k := s.keeper
	s.mu.Unlock()
	if !ok || k == nil {
		return nil
	}
	return s.signedOut(ctx, k, hash, id)
}

// Disown ends all logins of somebody of a provider to whom the rules give nothing.
func (s *Logins) Disown(mark, subject string) {
	if subject != "" {
		s.endAll(func(l *Login) bool { return l.mark == mark && l.subject == subject })
	}
}

// endAll ends the logins that f picks, for good.
func (s *Logins) endAll(f func(*Login) bool) {
	s.mu.Lock()
	var ids []string
	for _, l := range s.all {
		if f(l) {
			ids = append(ids, s.drop(l, errOver))
		}
	}
	s.mu.Unlock()
	s.forget(ids...)
}

// Len is how many there are.
func (s *Logins) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// Close ends all in this process, and lets none begin. Those that are kept go on where
// they are found again. It waits, for some seconds at most, until the provider has heard
// of those that had ended before.
func (s *Logins) Close() {
	s.mu.Lock()
	s.closed = true
	s.clear()
	s.mu.Unlock()
	s.revoking.Wait()
}

func (s *Logins) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// clear ends all in this process; mu is held.
func (s *Logins) clear() {
	if s.stop != nil {
		s.stop()
	}
	s.keeper, s.stop = nil, nil
	clear(s.owed) // whoever decides next is not told
	s.forgetSpare()
	for _, l := range s.all {
		s.drop(l, errMoved)
	}
}

// random is 192 bits.
func random() string {
	var b [24]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

type key struct{}

// With returns a context that carries l and ends with it.
func With(ctx context.Context, l *Login) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, key{}, l))
	stop := context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })
	return ctx, func() { stop(); cancel(nil) }
}

// From returns the login of a request's context; every handler behind the cookie has one.
func From(ctx context.Context) *Login {
	l, _ := ctx.Value(key{}).(*Login)
	return l
}

// ErrNotKept says that a login could not be written down, or those of before not read.
var ErrNotKept = errors.New("logins cannot be kept at the moment")
