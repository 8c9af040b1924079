package console

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// annAt is a browser in which ann has signed in by p.
func annAt(t *testing.T, d *desk) *http.Client {
	t.Helper()
	b := d.browser(t)
	b.CheckRedirect = nil
	if status, _, text := ask(t, b, "GET", d.url+"/console/oidc/start?next=/console/nodes", nil); status != http.StatusOK || !strings.Contains(text, `data-user="ann"`) {
		t.Fatalf("the sign-in: %d %s", status, text)
	}
	return b
}

// in reports whether a browser is signed in: what a page that follows something hears.
func (d *desk) in(t *testing.T, b *http.Client) bool {
	t.Helper()
	status, _, text := ask(t, b, "GET", d.url+"/console/policy", nil, "Accept", "application/json")
	if status != http.StatusOK && status != http.StatusUnauthorized {
		t.Fatalf("%d %s", status, text)
	}
	return status == http.StatusOK
}

func soon(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in 30 s: " + what)
		}
	}
}

// What the provider thinks of a user meanwhile counts when it is asked again, and what
// he had open ends then.
func TestProviderChangesItsMind(t *testing.T) {
	for _, tt := range []struct {
		name, again string
		change      func(*provider)
		ends        bool
	}{
		{"nothing, by a token", "token", func(*provider) {}, false},
		{"nothing, by user information", "info", func(*provider) {}, false},
		{"other groups, by a token", "token", func(p *provider) { p.claims["groups"] = []string{"kiosk-admins"} }, true},
		{"other groups, by user information", "info", func(p *provider) { p.claims["groups"] = []string{"cooks"} }, true},
		{"no groups at all", "token", func(p *provider) { p.claims["groups"] = []string{} }, true},
		{"groups are not told any more", "token", func(p *provider) { p.again = "silent" }, true},
		{"another name", "token", func(p *provider) { p.claims["preferred_username"] = "eve" }, true},
		{"another subject", "info", func(p *provider) { p.claims["sub"] = "2" }, true},
		{"no more tokens", "token", func(p *provider) { p.again = "gone" }, true},
		{"it is away", "token", func(p *provider) { p.again = "away" }, false},
		{"its token is signed by somebody", "token", func(p *provider) { p.signer = stranger(p.t) }, false}, // as good as away
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.again = tt.again
			d := oidcDesk(t, p, func(o *OIDC) { o.Recheck = 30 * time.Millisecond })
			ann, second := annAt(t, d), annAt(t, d)
			stream := d.follow(t, ann, "/console/api/v1/devices/events")
			soon(t, "the provider is asked", func() bool { return p.asks() >= 4 })
			if !d.in(t, ann) || !d.in(t, second) {
				t.Fatal("a user of whom nothing has changed is out")
			}
			p.change(func() { tt.change(p) })
			if tt.ends {
				soon(t, "he is out, in both browsers", func() bool { return !d.in(t, ann) && !d.in(t, second) })
				<-stream
				return
			}
			before := p.asks()
			soon(t, "it is asked twice more", func() bool { return p.asks() >= before+2 })
			if !d.in(t, ann) {
				t.Error("he is out")
			}
		})
	}
}

// A provider that cannot be asked, or does not answer, vouches for nobody for longer
// than MaxAge.
func TestProviderDoesNotSay(t *testing.T) {
	for _, again := range []string{"", "silent", "away"} {
		t.Run("again "+again, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.again = again
			d := oidcDesk(t, p, func(o *OIDC) { o.Recheck, o.MaxAge = 20*time.Millisecond, 300*time.Millisecond })
			ann := annAt(t, d)
			stream := d.follow(t, ann, "/console/api/v1/devices/events")
			<-stream
			if d.in(t, ann) {
				t.Error("he is in after that time")
			}
			// A page goes to the provider by itself, which still knows him.
			p.change(func() { p.again = "" })
			if status, _, text := ask(t, ann, "GET", d.url+"/console/sessions", nil); status != http.StatusOK || !strings.Contains(text, `data-page="sessions"`) {
				t.Errorf("%d %s", status, text)
			}
		})
	}
}

// Who goes through the provider again keeps what he has open if he is the same; his
// browser gets another secret. If not, all of it ends.
func TestProviderVouchesAnew(t *testing.T) {
	p := newProvider(t)
	d := oidcDesk(t, p, nil)
	ann := annAt(t, d)
	stream := d.follow(t, ann, "/console/api/v1/devices/events")
	before := d.secret(t, ann)
	again := func() (int, string) {
		status, _, text := ask(t, ann, "GET", d.url+"/console/oidc/start?next=/console/sessions", nil)
		return status, text
	}
	if status, text := again(); status != http.StatusOK || !strings.Contains(text, `data-page="sessions"`) {
		t.Fatalf("%d %s", status, text)
	}
	if d.secret(t, ann) == before {
		t.Error("the secret is the same")
	}
	if _, ok := d.logins.Find(before); ok {
		t.Error("the secret of before is good")
	}
	if d.logins.Len() != 1 {
		t.Errorf("%d logins", d.logins.Len())
	}
	select {
	case <-stream:
		t.Error("what was open has ended")
	default:
	}
	p.change(func() { p.claims["groups"] = []string{"kiosk-admins"} })
	if status, text := again(); status != http.StatusOK || !strings.Contains(text, `data-role="admin"`) {
		t.Errorf("%d %s", status, text)
	}
	<-stream
	if !d.in(t, ann) || d.logins.Len() != 1 {
		t.Errorf("%d logins", d.logins.Len())
	}
}

// Who signed out is not signed in again by a provider that knows him still.
func TestSignedOutStaysOut(t *testing.T) {
	p := newProvider(t)
	d := oidcDesk(t, p, nil)
	ann := annAt(t, d)
	ask(t, ann, "POST", d.url+"/console/signout", nil)
	if status, _, text := ask(t, ann, "GET", d.url+"/console/", nil); status != http.StatusOK || !strings.Contains(text, `data-page="signin"`) {
		t.Errorf("%d %s", status, text)
	}
	if d.in(t, ann) {
		t.Error("he is in")
	}
}
