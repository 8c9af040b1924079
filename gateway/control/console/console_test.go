package console

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console/internal/login"
	"github.com/boothwire/boothwire/keys"
)

// desk is a console beside a real control, at an address of its own.
type desk struct {
	*Console
	control *control.Control
	url     string
	served  *httptest.Server
}

// secretWord is the local administrator's, hashWord its hash, of the lowest cost.
const (
	secretWord = "correct horse"
	hashWord   = "$2a$10$HH/ywcrVTp..xVYCQtttNOdv0K34rSO9O/ClLyPdTGWRJ2WaWa6dC"
)

func newDesk(t testing.TB, change func(*Config)) *desk {
	t.Helper()
	c, err := control.Open(t.Context(), "file:"+filepath.Join(t.TempDir(), "control.db"), &control.Config{Store: keys.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	cfg := &Config{Local: &Local{Name: "admin", Hash: hashWord}}
	if change != nil {
		change(cfg)
	}
	s, err := New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return &desk{s, c, srv.URL, srv}
}

// newServed is a desk at an address of its own that serve answers at, without a console.
func newServed(t *testing.T, serve http.HandlerFunc) *desk {
	t.Helper()
	srv := httptest.NewServer(serve)
	t.Cleanup(srv.Close)
	return &desk{url: srv.URL, served: srv}
}

// give has a browser show a secret.
func (d *desk) give(t *testing.T, b *http.Client, secret string) {
	t.Helper()
	at, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Cookie{Name: "boothwire", Value: secret, Path: "/"}
	if at.Scheme == "https" {
		c.Name, c.Secure = "__Host-boothwire", true
	}
	b.Jar.SetCookies(at, []*http.Cookie{c})
}

// browser keeps cookies, and follows no redirect.
func (d *desk) browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Transport: d.served.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// as is a browser in which u is signed in.
func (d *desk) as(t *testing.T, u control.User) *http.Client {
	t.Helper()
	b := d.browser(t)
	_, secret := d.begin(t, u)
	d.give(t, b, secret)
	return b
}

// begin is a login of u, and its secret.
func (d *desk) begin(t testing.TB, u control.User) (*login.Login, string) {
	t.Helper()
	l, secret, err := d.logins.Begin(t.Context(), u, "test")
	if err != nil {
		t.Fatal(err)
	}
	return l, secret
}

// secret is the one that a browser has.
func (d *desk) secret(t *testing.T, b *http.Client) string {
	t.Helper()
	at, err := url.Parse(d.url + "/console/")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.Jar.Cookies(at) {
		if strings.TrimPrefix(c.Name, "__Host-") == "boothwire" {
			return c.Value
		}
	}
	t.Fatal("the browser has no login")
	return ""
}

// follow opens a stream, and returns what is closed at its end.
func (d *desk) follow(t *testing.T, b *http.Client, path string) <-chan struct{} {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", d.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.Do(r)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("a stream: %v, %v", res, err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
	}()
	return over
}

// ask sends a request as a page of the console does, and returns status, headers, body.
func ask(t *testing.T, b *http.Client, method, target string, form url.Values, head ...string) (int, http.Header, string) {
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	res, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(text)
}

func TestSignInAndOut(t *testing.T) {
	d := newDesk(t, nil)
	b := d.browser(t)
	status, head, _ := ask(t, b, "GET", d.url+"/console/devices/k1?x=1", nil)
	if status != http.StatusSeeOther || head.Get("Location") != "/console/signin?next=%2Fconsole%2Fdevices%2Fk1%3Fx%3D1" {
		t.Fatalf("a stranger gets %d to %q", status, head.Get("Location"))
	}
	if status, _, text := ask(t, b, "POST", d.url+"/console/signin", url.Values{"name": {"admin"}, "password": {"wrong"}}); status != http.StatusForbidden || !strings.Contains(text, "Name or password is wrong") {
		t.Fatalf("a wrong password gets %d: %s", status, text)
	}
	status, head, _ = ask(t, b, "POST", d.url+"/console/signin", url.Values{"name": {"admin"}, "password": {secretWord}, "next": {"/console/nodes"}})
	if status != http.StatusSeeOther || head.Get("Location") != "/console/nodes" {
		t.Fatalf("the right one gets %d to %q", status, head.Get("Location"))
	}
	if status, _, text := ask(t, b, "GET", d.url+"/console/", nil); status != http.StatusOK || !strings.Contains(text, `data-role="admin"`) {
		t.Fatalf("the devices page is %d: %s", status, text)
	}
	status, _, text := ask(t, b, "GET", d.url+"/console/api/v1/devices", nil)
	var list struct{ Items []any }
	if err := json.Unmarshal([]byte(text), &list); status != http.StatusOK || err != nil {
		t.Fatalf("the API answers %d %s", status, text)
	}
	secret := d.secret(t, b)
	ask(t, b, "POST", d.url+"/console/signout", url.Values{})
	if _, ok := d.logins.Find(secret); ok {
		t.Error("the login goes on after its end")
	}
	if status, _, _ := ask(t, b, "GET", d.url+"/console/", nil); status != http.StatusSeeOther {
		t.Errorf("after it the devices page is %d", status)
	}
}

// What a login holds open ends with it.
func TestSignOutEndsStreams(t *testing.T) {
	d := newDesk(t, nil)
	began, ended := make(chan struct{}), make(chan struct{})
	held := httptest.NewServer(d.guard(d.signedIn(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(ended)
	}))))
	defer held.Close()
	l, secret := d.begin(t, control.User{Name: "a", Role: control.Viewer})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", held.URL, nil)
	r.AddCookie(&http.Cookie{Name: "boothwire", Value: secret})
	go func() {
		if res, err := http.DefaultClient.Do(r); err == nil {
			res.Body.Close()
		}
	}()
	<-began
	d.logins.End(l)
	<-ended
}

func readAll(t *testing.T, res *http.Response) string {
	t.Helper()
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	return string(text)
}
