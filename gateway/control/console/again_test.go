package console

import (
	"crypto/sha256"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
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
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in a minute: " + what)
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
			d := oidcDesk(t, p, func(o *OIDC) { o.Recheck, o.MaxAge = 20*time.Millisecond, 6*time.Second })
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
	if l, ok := d.logins.Find(before); !ok || l.User.Name != "ann" {
		t.Error("what was on its way with the secret of before is turned away")
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
	signOut(t, d, ann)
	if status, _, text := ask(t, ann, "GET", d.url+"/console/", nil); status != http.StatusOK || !strings.Contains(text, `data-page="signin"`) {
		t.Errorf("%d %s", status, text)
	}
}

// When a login is over all pages of a browser go to the provider at once; each gets
// where it was.
func TestPagesComeBackTogether(t *testing.T) {
	p := newProvider(t)
	d := oidcDesk(t, p, nil)
	b := d.browser(t)
	pages := []string{"/console/", "/console/sessions", "/console/nodes"}
	var states, at []string
	for len(at) < len(pages) {
		_, head, _ := ask(t, b, "GET", d.url+"/console/oidc/start?next="+pages[len(at)], nil)
		to, err := url.Parse(head.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		state := to.Query().Get("state")
		if slices.ContainsFunc(states, func(o string) bool { return sameSlot(o, state) }) {
			states, at = nil, nil // two have one cookie, and the later counts: all anew
			continue
		}
		states, at = append(states, state), append(at, to.String())
	}
	for i, to := range at {
		res, err := b.Get(to)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if status, head, text := ask(t, b, "GET", res.Header.Get("Location"), nil); status != http.StatusSeeOther || head.Get("Location") != pages[i] {
			t.Errorf("%s: %d %s", pages[i], status, text)
		}
	}
	// What began in a cookie that another took is nobody's, but he is in.
	if status, head, _ := ask(t, b, "GET", d.url+"/console/oidc/callback?state=x&code=y", nil); status != http.StatusSeeOther || head.Get("Location") != "/console/" {
		t.Errorf("without what it began with: %d", status)
	}
	if d.logins.Len() != 1 {
		t.Errorf("%d logins", d.logins.Len())
	}
}

func sameSlot(a, b string) bool {
	return sha256.Sum256([]byte(a))[0]%16 == sha256.Sum256([]byte(b))[0]%16
}

// Whose login is good yet is not kept out by a provider to which his browser was sent by
// itself, and which does not let him through now. A download does not go there.
func TestPagesGoThereForNothing(t *testing.T) {
	p := newProvider(t)
	d := newRestarted(t, p)
	ann := annAt(t, d.desk)
	kept, err := d.control.Logins().All(t.Context())
	if err != nil || len(kept) != 1 {
		t.Fatalf("%d kept: %v", len(kept), err)
	}
	kept[0].Confirmed = time.Now().Add(-5 * time.Hour)
	if err := d.control.Logins().Put(t.Context(), kept[0]); err != nil {
		t.Fatal(err)
	}
	d.restart(t, nil)
	var sent atomic.Int32
	p.change(func() { p.refuse = "temporarily_unavailable" })
	ann.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == startPath {
			sent.Add(1)
		}
		return nil
	}
	for i, tt := range []struct {
		path   string
		status int
		text   string
		sent   int32
	}{
		{"/console/held/s/files/content?path=/x", http.StatusNotFound, "not_held", 0},
		{"/console/sessions", http.StatusOK, `data-page="sessions"`, 1},
		{"/console/nodes", http.StatusOK, `data-page="nodes"`, 1},
	} {
		status, _, text := ask(t, ann, "GET", d.url+tt.path, nil)
		if status != tt.status || !strings.Contains(text, tt.text) || sent.Load() != tt.sent {
			t.Errorf("%d: %d, sent there %d times: %s", i, status, sent.Load(), text)
		}
	}
}

// Of whom the provider says on the way that he may do nothing, nothing goes on.
func TestProviderTakesAllAway(t *testing.T) {
	p := newProvider(t)
	d := oidcDesk(t, p, nil)
	ann, second := annAt(t, d), annAt(t, d)
	stream := d.follow(t, second, "/console/api/v1/devices/events")
	p.change(func() { p.claims["groups"] = []string{"cooks"} })
	if status, _, text := ask(t, ann, "GET", d.url+"/console/oidc/start", nil); status != http.StatusForbidden || !strings.Contains(text, "You have no role here") {
		t.Errorf("%d %s", status, text)
	}
	<-stream
	if d.in(t, ann) || d.in(t, second) {
		t.Error("she is in")
	}
}
