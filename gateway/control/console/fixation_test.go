package console

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console/internal/held"
)

// What somebody has planted in a browser is nobody's login after a sign-in there: neither
// a secret that he made up, nor one of his own logins.
func TestFixation(t *testing.T) {
	p := newProvider(t)
	d := oidcDesk(t, p, nil)
	mallory, planted := d.begin(t, control.User{Name: "mallory", Role: control.Viewer})
	for what, secret := range map[string]string{"made up": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "his own": planted} {
		for way, signIn := range map[string]func(*http.Client){
			"password": func(b *http.Client) {
				ask(t, b, "POST", d.url+"/console/signin", url.Values{"name": {"admin"}, "password": {secretWord}})
			},
			"provider": func(b *http.Client) { ask(t, b, "GET", d.url+"/console/oidc/start", nil) },
		} {
			victim := d.browser(t)
			victim.CheckRedirect = nil
			d.give(t, victim, secret)
			signIn(victim)
			if got := d.secret(t, victim); got == secret || len(got) < 32 {
				t.Errorf("%s, by %s: the login's secret is %q", what, way, got)
			}
			if !d.in(t, victim) {
				t.Errorf("%s, by %s: he is not in", what, way)
			}
			thief := d.browser(t)
			d.give(t, thief, secret)
			if secret != planted && d.in(t, thief) {
				t.Errorf("%s, by %s: it is good for something", what, way)
			}
		}
	}
	if mallory.Context().Err() == nil {
		t.Error("the login that a browser had goes on beside its new one")
	}
}

// The callback of one who signed in elsewhere, shown in another's browser, does not sign
// that one in as him: it has not begun there.
func TestForcedSignIn(t *testing.T) {
	p := newProvider(t)
	d := oidcDesk(t, p, nil)
	mallory := d.browser(t)
	_, head, _ := ask(t, mallory, "GET", d.url+"/console/oidc/start", nil)
	res, err := mallory.Get(head.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	victim := adminAt(t, d)
	before := d.secret(t, victim)
	callback := res.Header.Get("Location")
	if status, head, _ := ask(t, victim, "GET", callback, nil); status != http.StatusSeeOther || head.Get("Location") != "/console/" || head.Get("Set-Cookie") != "" {
		t.Errorf("who is in: %d %v", status, head)
	}
	if d.secret(t, victim) != before || !d.in(t, victim) {
		t.Error("he is not himself any more")
	}
	stranger := d.browser(t)
	if status, _, _ := ask(t, stranger, "GET", callback, nil); status != http.StatusForbidden || d.in(t, stranger) {
		t.Errorf("who is not: %d", status)
	}
}

// Of two browsers that share a cookie neither is in after one has signed out, however
// often and whatever is under way.
func TestSharedCookie(t *testing.T) {
	d := newDesk(t, nil)
	one := adminAt(t, d)
	two := d.browser(t)
	two.Jar, _ = cookiejar.New(nil)
	d.give(t, two, d.secret(t, one))
	stream := d.follow(t, two, "/console/api/v1/devices/events")
	done := make(chan int, 16)
	for range cap(done) {
		go func() {
			status, _, _ := ask(t, one, "POST", d.url+"/console/signout", nil)
			done <- status
		}()
	}
	for range cap(done) {
		if status := <-done; status != http.StatusSeeOther {
			t.Errorf("a sign-out at the same time: %d", status)
		}
	}
	<-stream
	if d.in(t, two) || d.logins.Len() != 0 {
		t.Error("the login goes on")
	}
}

// A connect code does not outlive the control that made it, nor the end of its login.
func TestCodeAfterARestart(t *testing.T) {
	b := newBooth(t, nil, nil)
	admin := adminAt(t, b.desk)
	session := b.connect(t, admin, `{"device":"kiosk-1"}`)
	code := b.code(t, admin, session, "rdp")
	b.world.Restart(0)
	if !b.in(t, admin) {
		t.Fatal("he is out")
	}
	l, ok := b.logins.Find(b.secret(t, admin))
	if !ok {
		t.Fatal("no login")
	}
	who := held.Who{User: "admin", Login: l.ID, Until: l.Context()} // the same as before
	if tab, err := b.Console.held.Redeem(t.Context(), code, who, "rdp"); err == nil {
		tab.Close()
		t.Error("it is good after a restart")
	}
}
