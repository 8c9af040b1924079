package login

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// The cookies. Over TLS their names begin with __Host-, so that no other host and no
// plain connection can set one.
const (
	loginCookie   = "boothwire"
	pendingCookie = "boothwire-pending"
	byCookie      = "boothwire-by"
	secure        = "__Host-"
)

// Plain reports whether a request came without TLS. It is for this machine only.
func Plain(r *http.Request) bool { return r.TLS == nil }

// Private reports whether nobody else can hear a request: it came over TLS, or on this
// machine to one of its own names, which no page of another host can claim.
func Private(r *http.Request) bool {
	if !Plain(r) {
		return true
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	a, err := netip.ParseAddr(host)
	return Remote(r).IsLoopback() && (host == "localhost" || err == nil && a.IsLoopback())
}

func cookie(r *http.Request, name, value string, age int) *http.Cookie {
	c := &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if !Plain(r) {
		c.Name, c.Secure = secure+name, true
	}
	return c
}

func read(r *http.Request, name string) string {
	if !Plain(r) {
		name = secure + name
	}
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// Set gives a browser its login; it ends with the browser, if not before.
func Set(w http.ResponseWriter, r *http.Request, secret string) {
	http.SetCookie(w, cookie(r, loginCookie, secret, 0))
}

// Unset takes it away.
func Unset(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, cookie(r, loginCookie, "", -1))
}

// SetBy notes in a browser that its user comes by the provider, or not any more: where
// to go when the login is over.
func SetBy(w http.ResponseWriter, r *http.Request, provider bool) {
	switch {
	case provider:
		http.SetCookie(w, cookie(r, byCookie, "provider", int((30*24*time.Hour).Seconds())))
	case read(r, byCookie) != "":
		http.SetCookie(w, cookie(r, byCookie, "", -1))
	}
}

// ByProvider reports whether SetBy noted that.
func ByProvider(r *http.Request) bool { return read(r, byCookie) != "" }

// Of returns the login of a request, nil if there is none. With ErrNotKept nobody can
// say at the moment.
func (s *Logins) Of(r *http.Request) (*Login, error) {
	l, err := s.shown(r)
	if l != nil && !s.decides() {
		return nil, fmt.Errorf("%w: nobody decides", ErrNotKept)
	}
	return l, err
}

// shown is the login whose secret a request has, which may have ended elsewhere.
func (s *Logins) shown(r *http.Request) (*Login, error) {
	secret := read(r, loginCookie)
	if secret == "" {
		return nil, nil
	}
	if err := s.settle(r.Context()); err != nil {
		return nil, err
	}
	l, ok := s.Find(secret)
	if !ok && s.isClosed() {
		return nil, fmt.Errorf("%w: the console is stopping", ErrNotKept)
	}
	return l, nil
}

// Leave ends the login of a request, if it has one, as SignOut does.
func (s *Logins) Leave(r *http.Request) error {
	l, err := s.shown(r)
	switch {
	case err != nil:
		return err
	case l != nil:
		return s.SignOut(r.Context(), l)
	}
	return s.signOutAgain(r.Context(), read(r, loginCookie))
}

// A Sealer keeps what a browser holds for us from being read or made up. Its key ends
// with the process.
type Sealer struct{ aead cipher.AEAD }

// NewSealer makes a key.
func NewSealer() (*Sealer, error) {
	var k [32]byte
	rand.Read(k[:])
	block, err := aes.NewCipher(k[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &Sealer{aead}, err
}

// slots is how many sign-ins a browser may have under way: all its pages come back here
// at once when a login is over.
const slots = 16

// slot is the cookie of the sign-in with that state.
func slot(state string) string {
	sum := sha256.Sum256([]byte(state))
	return pendingCookie + "-" + strconv.Itoa(int(sum[0])%slots)
}

// SetPending gives a browser what its sign-in needs when it comes back.
func (s *Sealer) SetPending(w http.ResponseWriter, r *http.Request, d Pending) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	value := base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, text, nil))
	http.SetCookie(w, cookie(r, slot(d.State), value, int(patience.Seconds())))
	return nil
}

// TakePending returns that of the sign-in with a state, and takes it from the browser; a
// zero Pending: it has none.
func (s *Sealer) TakePending(w http.ResponseWriter, r *http.Request, state string) Pending {
	var d Pending
	name := slot(state)
	sealed, err := base64.RawURLEncoding.DecodeString(read(r, name))
	if err != nil {
		return Pending{}
	}
	text, err := s.aead.Open(nil, nil, sealed, nil)
	if err != nil || json.Unmarshal(text, &d) != nil || subtle.ConstantTimeCompare([]byte(d.State), []byte(state)) != 1 {
		return Pending{}
	}
	http.SetCookie(w, cookie(r, name, "", -1))
	return d
}
