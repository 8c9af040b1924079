package console

import (
	"net/http"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console/internal/login"
)

// signedIn lets those through who are signed in. The context of what they ask for
// carries their login and ends with it: login.From has it, also for rooms.
func (c *Console) signedIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l, err := c.logins.Of(r)
		if err != nil {
			c.refuseUnkept(w, err)
			return
		}
		if l == nil {
			c.turnAway(w, r)
			return
		}
		if !l.Enter() {
			refuse(w, http.StatusTooManyRequests, "too_many_requests", "this browser has too much open here")
			return
		}
		defer l.Leave()
		if works(r) {
			c.logins.Touch(l)
		}
		ctx, cancel := login.With(r.Context(), l)
		defer cancel()
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// works reports whether a request shows that somebody sits there: pages that follow
// something ask by themselves.
func works(r *http.Request) bool {
	return wantsPage(r) || r.Method != http.MethodGet
}

// wantsPage reports whether a browser goes to a page, rather than a page asking for data.
func wantsPage(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// turnAway asks for a sign-in.
func (c *Console) turnAway(w http.ResponseWriter, r *http.Request) {
	if !wantsPage(r) {
		refuse(w, http.StatusUnauthorized, "unauthenticated", "sign in first")
		return
	}
	to := signInPath
	if c.oidc != nil && login.ByProvider(r) {
		to = startPath // he did not sign out: the provider may know him still
	}
	if r.URL.Path != "/console/" || r.URL.RawQuery != "" {
		to += "?next=" + url.QueryEscape(r.URL.RequestURI())
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// refuseUnkept is for when nobody can say who is signed in.
func (c *Console) refuseUnkept(w http.ResponseWriter, err error) {
	c.log.Warn("who is signed in cannot be read or written", zap.Error(err))
	w.Header().Set("Retry-After", "1")
	refuse(w, http.StatusServiceUnavailable, "no_lead", "who is signed in cannot be read or written at the moment; try again")
}

// awake is what pages say while their user moves a pointer or types.
func awake(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// may reports whether u has a role, and, for what concerns all devices, sees all.
func may(u control.User, low control.Role, everywhere bool) bool {
	return login.Includes(u.Role, low) && (!everywhere || len(u.Groups) == 0)
}

// local reports whether to is a page of this console, and no other site's address.
func local(to string) bool {
	u, err := url.Parse(to)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && strings.HasPrefix(u.Path, "/console/") &&
		!strings.Contains(to, `\`) && !strings.HasPrefix(to, "//")
}
