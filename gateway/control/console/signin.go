package console

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console/internal/login"
)

const (
	signInPath = "/console/signin"
	startPath  = "/console/oidc/start"
	maxForm    = 16 << 10
)

// door is what the sign-in page shows.
type door struct {
	Local, OIDC, Here bool
	Name, Next        string
	Wrong             string // key of why not; empty: nothing was tried
}

func (c *Console) showSignIn(w http.ResponseWriter, r *http.Request) {
	next := nextOf(r.URL.Query().Get("next"))
	if l, _ := c.logins.Of(r); l != nil {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	c.showDoor(w, r, http.StatusOK, door{Next: next})
}

func (c *Console) showDoor(w http.ResponseWriter, r *http.Request, status int, d door) {
	d.Local, d.OIDC = c.local != nil, c.oidc != nil
	d.Here = c.local != nil && c.local.Near(r)
	w.Header().Set("Cache-Control", "no-store")
	c.pages.show(w, r, sheet{Name: "signin", Status: status}, nil, d)
}

// nextOf is where to go after a sign-in.
func nextOf(asked string) string {
	if !local(asked) {
		return "/console/"
	}
	return asked
}

// signIn takes name and password of the local administrator.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "malformed", "no form")
		return
	}
	d := door{Name: r.PostForm.Get("name"), Next: nextOf(r.PostForm.Get("next"))}
	if c.local == nil {
		d.Wrong = "signin.elsewhere"
		c.showDoor(w, r, http.StatusForbidden, d)
		return
	}
	u, err := c.local.Open(r, d.Name, r.PostForm.Get("password"))
	if err != nil {
		c.refuseSignIn(w, r, d, err)
		return
	}
	err = c.logins.Leave(r)
	secret := ""
	if err == nil {
		_, secret, err = c.logins.Begin(r.Context(), u, c.local.Mark())
	}
	if err != nil {
		c.refuseSignIn(w, r, d, err)
		return
	}
	login.SetBy(w, r, false)
	c.welcome(w, r, u, secret, d.Next)
}

// refuseSignIn shows the page again, with why.
func (c *Console) refuseSignIn(w http.ResponseWriter, r *http.Request, d door, err error) {
	status := http.StatusForbidden
	var wait login.TooMany
	var said *login.Refusal
	switch {
	case errors.Is(err, login.ErrWrong):
		d.Wrong = "signin.wrong"
	case errors.Is(err, login.ErrElsewhere):
		d.Wrong = "signin.elsewhere"
	case errors.As(err, &wait):
		d.Wrong, status = "signin.too_many", http.StatusTooManyRequests
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.After.Seconds()))))
	case errors.Is(err, login.ErrNotKept):
		d.Wrong, status = "signin.not_kept", http.StatusServiceUnavailable
	case errors.Is(err, login.ErrUnsolicited):
		d.Wrong = "signin.unsolicited"
	case errors.Is(err, login.ErrNoRole):
		d.Wrong = "signin.no_role"
	case errors.Is(err, login.ErrNoName):
		d.Wrong = "signin.no_name"
	case errors.Is(err, login.ErrTaken):
		d.Wrong = "signin.taken"
	case errors.As(err, &said):
		d.Wrong = "signin.provider_refused"
	default:
		d.Wrong, status = "signin.provider_away", http.StatusBadGateway
	}
	c.log.Warn("sign-in refused", zap.Stringer("from", login.Remote(r)), zap.Error(err))
	c.showDoor(w, r, status, d)
}

// welcome gives a browser the secret of a login of u.
func (c *Console) welcome(w http.ResponseWriter, r *http.Request, u control.User, secret, next string) {
	login.Set(w, r, secret)
	c.log.Info("signed in", zap.String("user", u.Name), zap.String("role", string(u.Role)), zap.Stringer("from", login.Remote(r)))
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// signOut ends the login, and every stream and WebSocket of it.
func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	if err := c.logins.Leave(r); err != nil {
		c.refuseUnkept(w, err) // the cookie stays, to try again with
		return
	}
	login.Unset(w, r)
	login.SetBy(w, r, false)
	http.Redirect(w, r, signInPath, http.StatusSeeOther)
}

// maxNext bounds, in bytes of JSON, what a browser keeps of where a sign-in leads. All that
// it may have under way has to fit into the headers that a server takes: whoever leads it
// to long ones would lock it out.
const maxNext = 200

// brief is next, or what of it a browser may keep.
func brief(next string) string {
	page, _, _ := strings.Cut(next, "?")
	for _, to := range []string{next, page} {
		if text, err := json.Marshal(to); err == nil && len(text) <= maxNext {
			return to
		}
	}
	return "/console/"
}

func (c *Console) startOIDC(w http.ResponseWriter, r *http.Request) {
	next := brief(nextOf(r.URL.Query().Get("next")))
	if c.oidc == nil {
		refuse(w, http.StatusNotFound, "not_found", "no OpenID provider is configured")
		return
	}
	to, pending, err := c.oidc.Start(r.Context(), next)
	if err == nil {
		err = c.sealer.SetPending(w, r, pending)
	}
	if err != nil {
		c.notAgain(w, r, next, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (c *Console) finishOIDC(w http.ResponseWriter, r *http.Request) {
	if c.oidc == nil {
		refuse(w, http.StatusNotFound, "not_found", "no OpenID provider is configured")
		return
	}
	pending := c.sealer.TakePending(w, r, r.URL.Query().Get("state"))
	next := nextOf(pending.Next)
	u, who, err := c.oidc.Finish(r.Context(), pending, r.URL.Query())
	if err != nil {
		c.logins.Disown(c.oidc.Mark(), who.Subject) // of whom it is known now that he may do nothing
		c.logins.Decline(who)
		c.notAgain(w, r, next, err)
		return
	}
	old, err := c.logins.Of(r)
	secret := ""
	if err == nil {
		_, secret, err = c.logins.BeginOf(r.Context(), u, c.oidc.Mark(), who, old)
	}
	if err != nil {
		c.refuseSignIn(w, r, door{Next: next}, err)
		return
	}
	login.SetBy(w, r, true)
	c.welcome(w, r, u, secret, next)
}

// notAgain is for a sign-in that came to nothing. Whoever is signed in all the same goes
// on: his browser was sent to the provider by itself, or another page of it was first.
func (c *Console) notAgain(w http.ResponseWriter, r *http.Request, next string, err error) {
	if l, _ := c.logins.Of(r); l != nil {
		c.log.Warn("the provider was not heard about a user", zap.String("user", l.User.Name), zap.Error(err))
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	c.refuseSignIn(w, r, door{Next: next}, err)
}
