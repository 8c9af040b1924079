package login

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/boothwire/boothwire/gateway/control"
)

// Local is an administrator whom the console itself knows.
type Local struct {
	Name string // default "admin"
	// Hash is of his password, as Hash makes it.
	Hash string
	// Anywhere accepts him from other machines too; else only from this one, directly.
	Anywhere bool
}

// cost of a hash: about a quarter of a second, which is what a guess costs.
const cost = 12

// Hash is what is kept of a password, of at most 72 bytes.
func Hash(password string) (string, error) {
	if password == "" {
		return "", errors.New("an empty password")
	}
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	return string(h), err
}

// CheckHash refuses what is no hash of a password, or one that would take minutes.
func CheckHash(hash string) error {
	n, err := bcrypt.Cost([]byte(hash))
	switch {
	case err != nil:
		return errors.New("no bcrypt hash; boothwire-control console-password makes one")
	case n < bcrypt.DefaultCost || n > 15:
		return fmt.Errorf("a bcrypt hash of cost %d; 10 to 15 will do", n)
	}
	return nil
}

// Invent gives the administrator a password that nobody guesses, and returns it.
func (l *Local) Invent() (password string, err error) {
	password = random()
	l.Hash, err = Hash(password)
	return password, err
}

// Refusals of a sign-in.
var (
	ErrWrong     = errors.New("name or password is wrong")
	ErrElsewhere = errors.New("this account signs in on control's own machine only")
)

// TooMany says that there were too many wrong passwords, and when to try again.
type TooMany struct{ After time.Duration }

func (TooMany) Error() string { return "too many attempts" }

// A Door lets the local administrator in. It is safe for concurrent use.
type Door struct {
	local Local
	tries tries
	turn  chan struct{} // one hash at a time: guessing costs one core at most
}

// turnWait is how long somebody waits for his turn: others may guess from many addresses.
const turnWait = 10 * time.Second

// NewDoor returns the door of l, nil for nil.
func NewDoor(l *Local) (*Door, error) {
	if l == nil {
		return nil, nil
	}
	d := &Door{local: *l, turn: make(chan struct{}, 1)}
	if d.local.Name == "" {
		d.local.Name = "admin"
	}
	return d, CheckHash(l.Hash)
}

// Name is the administrator's.
func (d *Door) Name() string { return d.local.Name }

// Mark is by what the administrator is known again: another password is another one.
func (d *Door) Mark() string {
	sum := sha256.Sum256([]byte(d.local.Name + "\x00" + d.local.Hash))
	return "local " + base64.RawURLEncoding.EncodeToString(sum[:])
}

// Recall is who the administrator is whom a Keeper has.
func (d *Door) Recall(l control.Login) (control.User, bool) {
	return d.user(), l.Source == d.Mark() && l.Name == d.local.Name
}

func (d *Door) user() control.User { return control.User{Name: d.local.Name, Role: control.Admin} }

// Near reports whether the administrator may sign in where r comes from.
func (d *Door) Near(r *http.Request) bool { return d.local.Anywhere || Here(r) }

// Open tells who sent r with that name and password.
func (d *Door) Open(r *http.Request, name, password string) (control.User, error) {
	from := Remote(r)
	if !d.Near(r) {
		return control.User{}, ErrElsewhere
	}
	if wait := d.tries.take(from, time.Now()); wait > 0 {
		return control.User{}, TooMany{wait}
	}
	wait, cancel := context.WithTimeout(r.Context(), turnWait)
	defer cancel()
	select {
	case d.turn <- struct{}{}:
	case <-wait.Done(): // or who has gone would keep his place
		return control.User{}, TooMany{turnWait}
	}
	err := bcrypt.CompareHashAndPassword([]byte(d.local.Hash), []byte(password)) // whoever is asked for
	<-d.turn
	if subtle.ConstantTimeCompare([]byte(name), []byte(d.local.Name)) != 1 || err != nil {
		return control.User{}, ErrWrong
	}
	d.tries.forgive(from)
	return d.user(), nil
}

// Remote is where a request comes from; a network of IPv6 counts as one.
func Remote(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	a := at.Addr().Unmap()
	if a.Is6() && !a.IsLoopback() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	return a
}

// Here reports whether a request comes from this machine, and not through a proxy that
// stands on it.
func Here(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	return Remote(r).IsLoopback()
}

const (
	triesBurst = 8                // wrong passwords in a row
	triesEvery = 20 * time.Second // then one
	maxTriers  = 10000            // addresses that are told apart
)

// tries counts attempts by address: a bucket that fills again.
type tries struct {
	mu sync.Mutex
	by map[netip.Addr]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func (b bucket) refilled(now time.Time) bucket {
	b.left = min(triesBurst, b.left+now.Sub(b.at).Seconds()/triesEvery.Seconds())
	b.at = now
	return b
}

// take takes one attempt, or says how long to wait for it.
func (t *tries) take(from netip.Addr, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, ok := t.by[from]
	if !ok {
		t.makeRoom(now)
		b = bucket{triesBurst, now}
	}
	b = b.refilled(now)
	if b.left < 1 {
		t.by[from] = b
		return time.Duration((1 - b.left) * float64(triesEvery))
	}
	b.left--
	t.by[from] = b
	return 0
}

// makeRoom forgets who would have a whole bucket again, and all when that is nobody.
func (t *tries) makeRoom(now time.Time) {
	if t.by == nil {
		t.by = make(map[netip.Addr]bucket)
	}
	if len(t.by) < maxTriers {
		return
	}
	for a, b := range t.by {
		if b.refilled(now).left >= triesBurst {
			delete(t.by, a)
		}
	}
	if len(t.by) >= maxTriers {
		clear(t.by)
	}
}

func (t *tries) forgive(from netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.by, from)
}
