package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"sync"
	"time"

	"github.com/boothwire/boothwire/gateway/control"
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
)

// Logins are those of one console. They are safe for concurrent use.
type Logins struct {
	idle, longest time.Duration

	mu     sync.Mutex
	all    map[[sha256.Size]byte]*Login
	closed bool
}

// New returns no logins yet. A login ends when its user was idle for so long, and at
// the longest after that time; zero: 1 h and 12 h.
func New(idle, longest time.Duration) *Logins {
	if idle <= 0 {
		idle = defaultIdle
	}
	if longest <= 0 {
		longest = defaultLongest
	}
	return &Logins{idle: idle, longest: longest, all: make(map[[sha256.Size]byte]*Login)}
}

// A Login is one user in one browser.
type Login struct {
	ID   string // names it inside this process; no secret
	User control.User

	ctx     context.Context
	end     context.CancelFunc
	hash    [sha256.Size]byte
	subject string // who he is at the provider; empty: he is known by his name
	began   time.Time

	mu    sync.Mutex
	last  time.Time
	open  int // requests
	timer *time.Timer
}

// Context ends with the login.
func (l *Login) Context() context.Context { return l.ctx }

// Touch says that the user does something.
func (l *Login) Touch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
}

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

// Begin makes a login and the secret by which its browser is known. Older logins of
// that name end if they had another role or other groups: who decides about the user
// has changed his mind.
func (s *Logins) Begin(u control.User) (*Login, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin(u, "")
}

// BeginOf does so for somebody of a provider, which knows him as subject. He is refused
// with ErrTaken while another of his name is signed in: what the one has open would be
// the other's, too.
func (s *Logins) BeginOf(u control.User, subject string) (*Login, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.all {
		if l.User.Name == u.Name && l.subject != subject {
			return nil, "", ErrTaken
		}
	}
	l, secret := s.begin(u, subject)
	return l, secret, nil
}

// begin is Begin; mu is held.
func (s *Logins) begin(u control.User, subject string) (*Login, string) {
	secret := random()
	l := &Login{ID: random(), User: u, hash: sha256.Sum256([]byte(secret)), subject: subject, began: time.Now(), last: time.Now()}
	l.ctx, l.end = context.WithCancel(context.Background())
	if s.closed {
		l.end()
		return l, secret
	}
	s.makeRoom(u)
	s.all[l.hash] = l
	l.timer = time.AfterFunc(min(s.idle, s.longest), func() { s.look(l) })
	return l, secret
}

// makeRoom ends what is in the way of a new login; mu is held.
func (s *Logins) makeRoom(u control.User) {
	var his []*Login
	var oldest *Login
	for _, l := range s.all {
		switch {
		case l.User.Name != u.Name:
		case l.User.Role != u.Role || !slices.Equal(l.User.Groups, u.Groups):
			s.drop(l)
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
		s.drop(oldest)
	} else if len(s.all) >= maxLogins {
		s.drop(oldest)
	}
}

// look ends a login whose time is over, or looks again later.
func (s *Logins) look(l *Login) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[l.hash] != l {
		return
	}
	l.mu.Lock()
	left := min(time.Until(l.last.Add(s.idle)), time.Until(l.began.Add(s.longest)))
	l.mu.Unlock()
	if left <= 0 {
		s.drop(l)
		return
	}
	l.timer.Reset(left)
}

// drop ends a login; mu is held.
func (s *Logins) drop(l *Login) {
	delete(s.all, l.hash)
	l.timer.Stop()
	l.end()
}

// Find returns the login whose browser shows that secret.
func (s *Logins) Find(secret string) (*Login, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.all[sha256.Sum256([]byte(secret))]
	return l, ok && l.ctx.Err() == nil
}

// End ends a login. It is idempotent.
func (s *Logins) End(l *Login) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[l.hash] == l {
		s.drop(l)
	}
}

// Len is how many there are.
func (s *Logins) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// Close ends all, and lets none begin.
func (s *Logins) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, l := range s.all {
		s.drop(l)
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
	ctx, cancel := context.WithCancel(context.WithValue(ctx, key{}, l))
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// From returns the login of a request's context; every handler behind the cookie has one.
func From(ctx context.Context) *Login {
	l, _ := ctx.Value(key{}).(*Login)
	return l
}
