package console

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console/internal/login"
	"github.com/boothwire/boothwire/keys"
)

// restarted is a control with its console on one database, each time anew, at one address.
type restarted struct {
	*desk
	cfg  Config
	file string
	keys keys.Store
	stop func()
}

// restart ends control and console as a planned stop does, and starts them with what
// change makes of the configuration.
func (d *restarted) restart(t *testing.T, change func(*Config)) {
	t.Helper()
	if d.stop != nil {
		d.stop()
	}
	if change != nil {
		change(&d.cfg)
	}
	c, err := control.Open(t.Context(), "file:"+d.file, &control.Config{Store: d.keys})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(c, &d.cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.control, d.Console = c, s
	d.stop = func() {
		if err := errors.Join(s.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	}
}

// newRestarted is one whose users p knows, beside the local administrator.
func newRestarted(t *testing.T, p *provider) *restarted {
	t.Helper()
	d := &restarted{file: filepath.Join(t.TempDir(), "control.db"), keys: keys.NewMemory()}
	d.desk = newServed(t, func(w http.ResponseWriter, r *http.Request) { d.ServeHTTP(w, r) })
	d.cfg = Config{Local: &Local{Name: "admin", Hash: hashWord}}
	if p != nil {
		d.cfg.OIDC = p.trusted(d.url)
	}
	d.restart(t, nil)
	t.Cleanup(func() { d.stop() })
	return d
}

// adminAt is a browser in which the local administrator has signed in.
func adminAt(t *testing.T, d *desk) *http.Client {
	t.Helper()
	b := d.browser(t)
	if status, _, text := ask(t, b, "POST", d.url+"/console/signin", url.Values{"name": {"admin"}, "password": {secretWord}}); status != http.StatusSeeOther {
		t.Fatalf("the sign-in: %d %s", status, text)
	}
	return b
}

// Who is signed in stays so when control is started anew; who signed out does not come
// back with it, nor whoever has his cookie. What is kept is of no use to who reads it.
func TestLoginsOutliveControl(t *testing.T) {
	p := newProvider(t)
	p.again = "token"
	d := newRestarted(t, p)
	admin, ann, bob := adminAt(t, d.desk), annAt(t, d.desk), adminAt(t, d.desk)
	stream := d.follow(t, admin, "/console/api/v1/devices/events")
	stolen := d.secret(t, bob)
	d.restart(t, nil)
	<-stream
	for who, b := range map[string]*http.Client{"the administrator": admin, "ann": ann, "bob": bob} {
		if !d.in(t, b) {
			t.Errorf("%s is out", who)
		}
	}
	if status, _, _ := ask(t, bob, "POST", d.url+"/console/signout", nil); status != http.StatusSeeOther {
		t.Errorf("the sign-out: %d", status)
	}
	thief := d.browser(t)
	d.give(t, thief, stolen)
	for range 2 {
		if d.in(t, bob) || d.in(t, thief) {
			t.Error("who signed out is in")
		}
		if !d.in(t, admin) || !d.in(t, ann) {
			t.Error("another is out")
		}
		d.restart(t, nil)
	}
	var secrets []string
	for _, b := range []*http.Client{admin, ann} {
		secrets = append(secrets, d.secret(t, b))
	}
	p.change(func() {
		for r := range p.refresh {
			secrets = append(secrets, r)
		}
	})
	d.stop()
	files, _ := filepath.Glob(d.file + "*")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if bytes.Contains(text, []byte(s)) {
				t.Errorf("%s has a secret as it is", filepath.Base(f))
			}
		}
	}
	d.restart(t, nil)
}

// A user who is somebody else by the configuration now is so from the start.
func TestConfigurationDecidesAgain(t *testing.T) {
	other := hashWord[:len(hashWord)-1] + "D"
	for _, tt := range []struct {
		name   string
		change func(*Config)
		ann    string // role; empty: out
		admin  bool
	}{
		{"nothing", func(*Config) {}, "operator", true},
		{"another password", func(c *Config) { c.Local = &Local{Name: "admin", Hash: other} }, "operator", false},
		{"no local administrator", func(c *Config) { c.Local = nil }, "operator", false},
		{"another name for him", func(c *Config) { c.Local = &Local{Name: "root", Hash: hashWord} }, "operator", false},
		{"a lower role", func(c *Config) { c.OIDC = ruled(c.OIDC, Rule{Group: "kiosk-service", Role: control.Viewer}) }, "viewer", true},
		{"no rule for his group", func(c *Config) { c.OIDC = ruled(c.OIDC, Rule{Group: "cooks", Role: control.Viewer}) }, "", true},
		{"his name is the administrator's", func(c *Config) { c.Local = &Local{Name: "Ann", Hash: hashWord} }, "", false},
		{"another client at the provider", func(c *Config) { o := *c.OIDC; o.ClientID = "other"; c.OIDC = &o }, "", true},
		{"no provider", func(c *Config) { c.OIDC = nil }, "", true},
		{"shorter logins", func(c *Config) { c.Longest = time.Millisecond }, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newRestarted(t, newProvider(t))
			ann, admin := annAt(t, d.desk), d.browser(t)
			_, secret, err := d.logins.Begin(t.Context(), control.User{Name: "admin", Role: control.Admin}, d.local.Mark())
			if err != nil {
				t.Fatal(err)
			}
			d.give(t, admin, secret)
			d.restart(t, tt.change)
			if d.in(t, admin) != tt.admin {
				t.Errorf("the administrator is in: %v", !tt.admin)
			}
			if d.in(t, ann) != (tt.ann != "") {
				t.Fatalf("ann is in: %v", tt.ann == "")
			}
			if tt.ann == "" {
				return
			}
			if _, _, text := ask(t, ann, "GET", d.url+"/console/nodes", nil); !strings.Contains(text, `data-role="`+tt.ann+`"`) {
				t.Errorf("not %s: %s", tt.ann, text)
			}
		})
	}
}

func ruled(o *OIDC, rules ...Rule) *OIDC {
	c := *o
	c.Rules = rules
	return &c
}

// After a restart the provider is asked again by what only his browser opens.
func TestProviderIsAskedAfterARestart(t *testing.T) {
	p := newProvider(t)
	p.again = "token"
	d := newRestarted(t, p)
	ann := annAt(t, d.desk)
	d.restart(t, func(c *Config) {
		o := *c.OIDC
		o.Recheck = 20 * time.Millisecond
		c.OIDC = &o
	})
	before := p.asks()
	if !d.in(t, ann) {
		t.Fatal("she is out")
	}
	soon(t, "it is asked", func() bool { return p.asks() > before })
	p.change(func() { p.again = "gone" })
	soon(t, "she is out", func() bool { return !d.in(t, ann) })
	d.restart(t, nil)
	if d.in(t, ann) {
		t.Error("she is in again")
	}
}

// While nobody can say who is signed in, nobody is; a sign-out that cannot be written
// down does not look like one.
func TestNobodyDecides(t *testing.T) {
	d := newRestarted(t, nil)
	admin := adminAt(t, d.desk)
	l, ok := d.logins.Find(d.secret(t, admin))
	if !ok {
		t.Fatal("no login")
	}
	if err := d.control.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ method, path string }{{"GET", "/console/"}, {"GET", "/console/policy"}, {"POST", "/console/signout"}, {"GET", "/console/api/v1/devices"}} {
		if status, head, text := ask(t, admin, tt.method, d.url+tt.path, nil); status != http.StatusServiceUnavailable || head.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %v %s", tt.path, status, head, text)
		}
	}
	if status, _, text := ask(t, d.browser(t), "POST", d.url+"/console/signin", url.Values{"name": {"admin"}, "password": {secretWord}}); status != http.StatusServiceUnavailable {
		t.Errorf("a sign-in: %d %s", status, text)
	}
	if err := d.logins.SignOut(t.Context(), l); !errors.Is(err, login.ErrNotKept) {
		t.Errorf("a sign-out: %v", err)
	}
	if l.Context().Err() == nil {
		t.Error("the login goes on")
	}
	d.restart(t, nil)
	if !d.in(t, admin) {
		t.Error("who was not signed out is out")
	}
}
