package held

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"sync"
	"time"
)

// CodeLife is how long a code is good for.
const CodeLife = 30 * time.Second

// maxCodes bounds the codes of one user that were not shown yet; a further one takes
// the place of the oldest. A page asks for one at each connection.
const maxCodes = 16

// Sizes of a code, in bytes: what it is found by, and what has to be right.
const (
	nameSize   = 8
	secretSize = 24
)

// codeSize is how long a code is as text, in bytes.
const codeSize = ((nameSize+secretSize)*8 + 5) / 6

// A bond is all that a code is good for.
type bond struct {
	who      Who
	session  string
	protocol Protocol
}

// A ticket is a code that was not shown yet. Of its secret only the SHA-256 is kept.
type ticket struct {
	bond
	secret [sha256.Size]byte
	until  time.Time
}

// codes are the tickets of a console. They are safe for concurrent use.
type codes struct {
	now  func() time.Time
	mu   sync.Mutex
	open map[[nameSize]byte]ticket
}

func newCodes(now func() time.Time) *codes {
	return &codes{now: now, open: make(map[[nameSize]byte]ticket)}
}

// issue makes a code.
func (c *codes) issue(b bond) string {
	var text [nameSize + secretSize]byte
	rand.Read(text[:])
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.make(b.who.User, now)
	c.open[[nameSize]byte(text[:])] = ticket{b, sha256.Sum256(text[nameSize:]), now.Add(CodeLife)}
	return base64.RawURLEncoding.EncodeToString(text[:])
}

// make makes room for one more code of a user; mu is held.
func (c *codes) make(user string, now time.Time) {
	var oldest [nameSize]byte
	var first time.Time
	n := 0
	for name, t := range c.open {
		switch {
		case !now.Before(t.until):
			delete(c.open, name)
		case t.who.User == user:
			if n++; first.IsZero() || t.until.Before(first) {
				oldest, first = name, t.until
			}
		}
	}
	if n >= maxCodes {
		delete(c.open, oldest)
	}
}

// Why a code is not taken: for the log, never for who showed it.
const (
	codeUnknown  = "unknown" // or shown before
	codeLate     = "late"
	codeUser     = "of another user"
	codeLogin    = "of another login"
	codeProtocol = "for another protocol"
)

// redeem takes a code that who shows for a protocol, and returns the session that it is
// of. A code that was shown is spent, whoever showed it. The time that a refusal takes
// says nothing about the secret.
func (c *codes) redeem(text string, who Who, p Protocol) (session, why string) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != nameSize+secretSize || len(text) != codeSize { // or it has line ends in it
		return "", codeUnknown
	}
	name := [nameSize]byte(raw)
	c.mu.Lock()
	t, ok := c.open[name]
	delete(c.open, name)
	c.mu.Unlock()
	shown := sha256.Sum256(raw[nameSize:])
	switch same := subtle.ConstantTimeCompare(shown[:], t.secret[:]) == 1; {
	case !ok || !same:
		return "", codeUnknown
	case !c.now().Before(t.until):
		return "", codeLate
	case t.who.User != who.User:
		return "", codeUser
	case t.who.Login != who.Login:
		return "", codeLogin
	case t.protocol != p:
		return "", codeProtocol
	}
	return t.session, ""
}

// drop ends the codes that f picks.
func (c *codes) drop(f func(bond) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, t := range c.open {
		if f(t.bond) {
			delete(c.open, name)
		}
	}
}
