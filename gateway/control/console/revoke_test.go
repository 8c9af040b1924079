package console

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// given are the refresh tokens that are good.
func (p *provider) given() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.refresh))
}

// gone are those that it was told to revoke.
func (p *provider) gone() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(slices.Values(p.revoked))
}

func signOut(t *testing.T, d *desk, b *http.Client) {
	t.Helper()
	if status, _, text := ask(t, b, "POST", d.url+"/console/signout", nil); status != http.StatusOK || !strings.Contains(text, `data-page="signin"`) {
		t.Errorf("the sign-out: %d %s", status, text)
	}
	if d.in(t, b) {
		t.Error("who signed out is in")
	}
}

// What the provider gave for a login is revoked when its user has signed out everywhere:
// with one token all that he has would go.
func TestSignOutRevokes(t *testing.T) {
	p := newProvider(t)
	p.again, p.revoke = "token", "all"
	d := oidcDesk(t, p, nil)
	ann, second := annAt(t, d), annAt(t, d)
	given := p.given()
	signOut(t, d, ann)
	if !d.in(t, second) {
		t.Error("he is out in his other browser")
	}
	signOut(t, d, second)
	soon(t, "both tokens are revoked", func() bool { return slices.Equal(p.gone(), given) && len(p.given()) == 0 })
	soon(t, "that is counted", func() bool { return d.LoginStats() == LoginStats{Revoked: 2} })
}

// Who has signed out in one browser is vouched for in the other as before.
func TestSignOutKeepsTheOther(t *testing.T) {
	p := newProvider(t)
	p.again, p.revoke = "token", "all"
	d := oidcDesk(t, p, func(o *OIDC) { o.Recheck = 30 * time.Millisecond })
	ann, second := annAt(t, d), annAt(t, d)
	signOut(t, d, ann)
	asked := p.asks()
	soon(t, "the provider is asked on", func() bool { return p.asks() >= asked+3 })
	if !d.in(t, second) || len(p.gone()) != 0 {
		t.Errorf("revoked: %d", len(p.gone()))
	}
	p.change(func() { p.claims["groups"] = []string{"cooks"} })
	soon(t, "who may do nothing any more has nothing there", func() bool { return len(p.given()) == 0 && len(p.gone()) > 0 })
}

// Of whom the provider says on the way that he may do nothing, nothing is left there.
func TestNotLetInRevokes(t *testing.T) {
	p := newProvider(t)
	p.again, p.revoke = "token", "all"
	d := oidcDesk(t, p, nil)
	b := d.browser(t)
	b.CheckRedirect = nil
	p.change(func() { p.claims["groups"] = []string{"cooks"} })
	if status, _, _ := ask(t, b, "GET", d.url+"/console/oidc/start", nil); status != http.StatusForbidden {
		t.Errorf("he is let in: %d", status)
	}
	soon(t, "it is revoked", func() bool { return len(p.gone()) == 1 && len(p.given()) == 0 })
}

// After a restart the cookie opens what is kept of a token: a sign-out shows it, and a
// login that ends without its browser leaves the token as it is.
func TestSignOutRevokesWhatWasKept(t *testing.T) {
	p := newProvider(t)
	p.again, p.revoke = "token", "all"
	d := newRestarted(t, p)
	ann := annAt(t, d.desk)
	given := p.given()
	d.restart(t, nil)
	signOut(t, d.desk, ann)
	soon(t, "it is revoked", func() bool { return slices.Equal(p.gone(), given) })

	annAt(t, d.desk)
	d.restart(t, nil)
	if _, err := d.logins.Of(&http.Request{Header: http.Header{"Cookie": {"boothwire=x"}}}); err != nil || d.logins.Len() != 1 {
		t.Fatalf("%d logins: %v", d.logins.Len(), err)
	}
	d.logins.Disown(d.oidc.Mark(), "1")
	d.stop()
	if len(p.given()) != 1 || len(p.gone()) != 1 {
		t.Errorf("revoked: %d", len(p.gone()))
	}
	d.restart(t, nil)
}

// No provider holds a sign-out up, nor is any asked for what it does not state; what it
// did not do is counted, and the log has no token.
func TestSignOutWithoutTheProvider(t *testing.T) {
	for _, tt := range []struct {
		name, revoke string
		calls        bool
		want         LoginStats
		says         string
	}{
		{"it states no address", "", false, LoginStats{}, ""},
		{"it is away", "away", true, LoginStats{Unrevoked: 1}, "answered 503"},
		{"it points elsewhere", "elsewhere", true, LoginStats{Unrevoked: 1}, "answered 307"},
		{"others would hear it", "http://id.example.com/revoke", false, LoginStats{Unrevoked: 1}, "no HTTPS"},
		{"it takes its time", "silent", true, LoginStats{Revoked: 1}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProvider(t)
			p.again, p.revoke = "token", tt.revoke
			core, log := observer.New(zapcore.DebugLevel)
			d := oidcDeskOf(t, p, func(c *Config) { c.Logger = zap.New(core) })
			ann := annAt(t, d)
			token := p.given()[0]
			signOut(t, d, ann)
			if tt.calls {
				soon(t, "it is asked", func() bool { return len(p.calls) > 0 })
			}
			if tt.revoke == "silent" && d.LoginStats().Revoked != 0 {
				t.Error("the sign-out waited for it")
			}
			close(p.hurry)
			d.Close() // which waits
			if got := d.LoginStats(); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
			said := ""
			for _, e := range log.All() {
				said += e.Message
				for _, f := range e.Context {
					said += " " + f.String
					if err, ok := f.Interface.(error); ok {
						said += " " + err.Error()
					}
				}
				said += "\n"
			}
			if strings.Contains(said, "not revoked") != (tt.says != "") || !strings.Contains(said, tt.says) || strings.Contains(said, token) || strings.Contains(said, clientSecret) {
				t.Errorf("the log says\n%s", said)
			}
		})
	}
}
