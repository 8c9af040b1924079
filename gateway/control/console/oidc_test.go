package console

import (
	"crypto/rand"
	"crypto/rsa"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/console/internal/login"
)

// trusted is what the console at url is configured with for p.
func (p *provider) trusted(url string) *OIDC {
	return &OIDC{Issuer: p.URL, ClientID: clientID, Secret: clientSecret, Redirect: url + login.CallbackPath, Rules: []Rule{
		{Group: "kiosk-service", Role: control.Operator, Devices: []string{"mall-7"}}, {Group: "kiosk-admins", Role: control.Admin},
	}}
}

// oidcDesk is a console whose users p knows.
func oidcDesk(t *testing.T, p *provider, change func(*OIDC)) *desk {
	t.Helper()
	return oidcDeskOf(t, p, func(cfg *Config) {
		if change != nil {
			change(cfg.OIDC)
		}
	})
}

func oidcDeskOf(t *testing.T, p *provider, change func(*Config)) *desk {
	t.Helper()
	var inner http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inner.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	d := newDesk(t, func(cfg *Config) {
		cfg.OIDC = p.trusted(srv.URL)
		change(cfg)
	})
	inner = d.Console
	d.served, d.url = srv, srv.URL
	return d
}

// stranger is somebody's key.
func stranger(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestOIDC(t *testing.T) {
	p := newProvider(t)
	d := oidcDesk(t, p, nil)
	other := stranger(t)
	for _, tt := range []struct {
		name   string
		claims map[string]any
		refuse string
		signer *rsa.PrivateKey
		want   string // text of the page; empty: he is in
	}{
		{name: "an operator"},
		{name: "another nonce", claims: map[string]any{"nonce": "x"}, want: "took too long or began in another browser"},
		{name: "for another client", claims: map[string]any{"aud": "other"}, want: "does not answer"},
		{name: "from another issuer", claims: map[string]any{"iss": "https://evil.example"}, want: "does not answer"},
		{name: "expired", claims: map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}, want: "does not answer"},
		{name: "signed by somebody", signer: other, want: "does not answer"},
		{name: "of no group", claims: map[string]any{"groups": []string{"cooks"}}, want: "You have no role here"},
		{name: "groups of another shape", claims: map[string]any{"groups": map[string]int{"kiosk-admins": 1}}, want: "You have no role here"},
		{name: "without a name", claims: map[string]any{"preferred_username": ""}, want: "does not say who you are"},
		{name: "with a name of control characters", claims: map[string]any{"preferred_username": "a\u0000b"}, want: "does not say who you are"},
		{name: "with the local administrator's name", claims: map[string]any{"preferred_username": "Admin"}, want: "another account"},
		{name: "with control's own name", claims: map[string]any{"preferred_username": "control"}, want: "another account"},
		{name: "refused", refuse: "access_denied", want: "refused the sign-in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.mu.Lock()
			p.claims, p.refuse, p.signer = maps.Clone(tt.claims), tt.refuse, p.key
			if tt.signer != nil {
				p.signer = tt.signer
			}
			p.mu.Unlock()
			b := d.browser(t)
			b.CheckRedirect = nil
			status, _, text := ask(t, b, "GET", d.url+"/console/oidc/start?next=/console/nodes", nil)
			if tt.want == "" {
				if status != http.StatusOK || !strings.Contains(text, `data-user="ann"`) || !strings.Contains(text, `data-role="operator"`) || !strings.Contains(text, `data-page="nodes"`) {
					t.Fatalf("%d %s", status, text)
				}
				return
			}
			if status == http.StatusOK || !strings.Contains(text, tt.want) {
				t.Errorf("%d, want %q in\n%s", status, tt.want, text)
			}
			if status, _, _ := ask(t, b, "GET", d.url+"/console/api/v1/devices", nil, "Accept", "application/json"); status != http.StatusUnauthorized {
				t.Errorf("he is in all the same: %d", status)
			}
		})
	}
}

// A callback counts once, in the browser in which it began, and with its state.
func TestOIDCCallback(t *testing.T) {
	p := newProvider(t)
	d := oidcDesk(t, p, nil)
	begin := func(b *http.Client) (callback string) {
		_, head, _ := ask(t, b, "GET", d.url+"/console/oidc/start", nil)
		res, err := b.Get(head.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.Header.Get("Location")
	}
	ann, eve := d.browser(t), d.browser(t)
	callback := begin(ann)
	if status, _, _ := ask(t, eve, "GET", callback, nil); status != http.StatusForbidden {
		t.Errorf("in another browser: %d", status)
	}
	if status, head, _ := ask(t, ann, "GET", callback, nil); status != http.StatusSeeOther || head.Get("Location") != "/console/" {
		t.Errorf("in its own: %d", status)
	}
	ann.Jar, _ = cookiejar.New(nil)
	if status, _, _ := ask(t, ann, "GET", callback, nil); status != http.StatusForbidden {
		t.Errorf("again: %d", status)
	}
	callback = begin(ann)
	at, _ := url.Parse(callback)
	q := at.Query()
	q.Set("state", "forged-"+q.Get("state"))
	at.RawQuery = q.Encode()
	if status, _, _ := ask(t, ann, "GET", at.String(), nil); status != http.StatusForbidden {
		t.Errorf("with another state: %d", status)
	}
	p.Close()
	fresh := oidcDesk(t, p, nil)
	if status, _, text := ask(t, fresh.browser(t), "GET", fresh.url+"/console/oidc/start", nil); status != http.StatusBadGateway || !strings.Contains(text, "does not answer") {
		t.Errorf("a provider that is away: %d", status)
	}
}

// Whoever has the name of somebody who is signed in, and is another, is not taken for
// him, nor does he end what the other has.
func TestOIDCNamesakes(t *testing.T) {
	p := newProvider(t)
	d := oidcDesk(t, p, nil)
	signIn := func(subject, group string) (*http.Client, int) {
		p.mu.Lock()
		p.claims = map[string]any{"sub": subject, "groups": []string{group}}
		p.mu.Unlock()
		b := d.browser(t)
		b.CheckRedirect = nil
		status, _, _ := ask(t, b, "GET", d.url+"/console/oidc/start", nil)
		return b, status
	}
	ann, status := signIn("1", "kiosk-service")
	if status != http.StatusOK {
		t.Fatalf("the first: %d", status)
	}
	for _, group := range []string{"kiosk-service", "kiosk-admins"} {
		if _, status := signIn("2", group); status != http.StatusForbidden {
			t.Errorf("another of that name, of %s: %d", group, status)
		}
	}
	if status, _, _ := ask(t, ann, "GET", d.url+"/console/policy", nil); status != http.StatusOK {
		t.Errorf("the first is out: %d", status)
	}
	again, status := signIn("1", "kiosk-service")
	if status != http.StatusOK {
		t.Errorf("the same, in another browser: %d", status)
	}
	for _, b := range []*http.Client{ann, again} {
		ask(t, b, "POST", d.url+"/console/signout", nil)
	}
	if _, status := signIn("2", "kiosk-service"); status != http.StatusOK {
		t.Errorf("another, when the first has gone: %d", status)
	}
}

func TestOIDCConfig(t *testing.T) {
	good := OIDC{Issuer: "https://id.example.com", ClientID: "c", Redirect: "https://control.example.com/console/oidc/callback", Rules: []Rule{{Group: "g", Role: control.Viewer}}}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		field  string
		change func(*OIDC)
	}{
		{"issuer", func(o *OIDC) { o.Issuer = "http://id.example.com" }},
		{"issuer", func(o *OIDC) { o.Issuer = "id.example.com" }},
		{"client_id", func(o *OIDC) { o.ClientID = "" }},
		{"redirect", func(o *OIDC) { o.Redirect = "http://control.example.com/console/oidc/callback" }},
		{"redirect", func(o *OIDC) { o.Redirect = "https://control.example.com/" }},
		{"rule", func(o *OIDC) { o.Rules = nil }},
		{"rule[0].group", func(o *OIDC) { o.Rules = []Rule{{Role: control.Viewer}} }},
		{"rule[0].role", func(o *OIDC) { o.Rules = []Rule{{Group: "g", Role: "root"}} }},
		{"rule[0].role", func(o *OIDC) { o.Rules = []Rule{{Group: "g", Role: control.RelayRole}} }},
	} {
		bad := good
		tt.change(&bad)
		err := bad.Check()
		if wrong, ok := err.(*BadField); !ok || wrong.Field != tt.field {
			t.Errorf("%+v: %v, want a wrong %s", bad, err, tt.field)
		}
	}
}
