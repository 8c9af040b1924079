package login

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boothwire/boothwire/gateway/control"
)

// forgetful is a provider in memory that revokes tokens.
type forgetful struct {
	says   map[string]any // in its description, beside the usual
	status int            // of its answers; 0: 200
	takes  time.Duration

	mu      sync.Mutex
	sent    []*http.Request // to revoke
	revoked []string
}

const forgetfulAt = "https://id.example.com"

// RoundTrip implements http.RoundTripper.
func (f *forgetful) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := func(status int, text string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Location": {forgetfulAt + "/elsewhere"}}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
	}
	if r.Method == http.MethodGet {
		says := map[string]any{"issuer": forgetfulAt, "token_endpoint": forgetfulAt + "/token"}
		for k, v := range f.says {
			says[k] = v
		}
		text, err := json.Marshal(says)
		if err != nil {
			return nil, err
		}
		return answer(http.StatusOK, string(text))
	}
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	token := r.PostForm.Get("token")
	f.mu.Lock()
	f.sent = append(f.sent, r)
	f.mu.Unlock()
	select {
	case <-time.After(f.takes):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if f.status != 0 {
		return answer(f.status, fmt.Sprintf(`{"error": %q, "error_description": %q}`, token, token))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoked = append(f.revoked, token)
	return answer(http.StatusOK, "")
}

// provider is f, of one group of viewers and one of admins.
func (f *forgetful) provider(t *testing.T) *Provider {
	t.Helper()
	p, err := NewProvider(&OIDC{
		Issuer: forgetfulAt, ClientID: "boothwire:1", Secret: "a b", Redirect: "https://control.example.com" + CallbackPath, MaxAge: 24 * time.Hour, Recheck: 24 * time.Hour,
		Rules: []Rule{{Group: "g", Role: control.Viewer}, {Group: "a", Role: control.Admin}}, HTTP: &http.Client{Transport: f},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// has is who f knows: somebody, by a token.
func has(subject, token string) (control.User, Known) {
	name := "user " + subject
	return control.User{Name: name, Role: control.Viewer}, Known{Name: name, Subject: subject, Groups: []string{"g"}, Refresh: token}
}

func named(i int) string { return fmt.Sprintf("t%03d", i) }

// tokens are those named from one number to before another.
func tokens(from, to int) string {
	var list []string
	for i := from; i < to; i++ {
		list = append(list, named(i))
	}
	return strings.Join(list, " ")
}

// A refresh token is revoked when its user is signed in nowhere any more, for whatever
// reason that is, and never before.
func TestRevoked(t *testing.T) {
	type world struct {
		*Logins
		p     *Provider
		begin func(subject, token string, old *Login) *Login
	}
	for _, tt := range []struct {
		name  string
		play  func(*testing.T, world)
		ends  func(world)
		early string // tokens that are revoked after play
		want  string // and after ends
		lost  uint64
	}{
		{name: "nobody was there for long",
			play: func(_ *testing.T, w world) { w.begin("1", "a", nil) },
			ends: func(world) { time.Sleep(2 * time.Hour) }, want: "a"},
		{name: "signed out in one browser, then in the other",
			play: func(t *testing.T, w world) {
				first := w.begin("1", "a", nil)
				w.begin("1", "b", nil)
				w.begin("2", "c", nil)
				if err := w.SignOut(t.Context(), first); err != nil {
					t.Error(err)
				}
			},
			ends: func(w world) { w.endAll(func(l *Login) bool { return l.subject == "1" }) }, want: "a b"},
		{name: "the last one has no token",
			play: func(t *testing.T, w world) {
				first := w.begin("1", "a", nil)
				w.begin("1", "", nil)
				if err := w.SignOut(t.Context(), first); err != nil {
					t.Error(err)
				}
			},
			ends: func(w world) { w.Disown(w.p.Mark(), "1") }, want: "a"},
		{name: "too many",
			play: func(_ *testing.T, w world) {
				for i := range maxEach + 1 {
					w.begin("1", named(i), nil)
				}
			},
			ends: func(w world) { w.Disown(w.p.Mark(), "1") }, want: tokens(0, maxEach+1)},
		{name: "far too many",
			play: func(_ *testing.T, w world) {
				var l *Login
				for i := range maxSpare + 4 {
					l = w.begin("1", named(i), l)
				}
			},
			ends: func(w world) { w.Disown(w.p.Mark(), "1") }, want: tokens(4, maxSpare+4), lost: 4},
		{name: "in again in the same browser",
			play: func(_ *testing.T, w world) { w.begin("1", "b", w.begin("1", "a", nil)) },
			ends: func(w world) { w.Disown(w.p.Mark(), "1") }, want: "a b"},
		{name: "another in the same browser",
			play:  func(_ *testing.T, w world) { w.begin("2", "b", w.begin("1", "a", nil)) },
			early: "a", ends: func(world) {}, want: "a"},
		{name: "in again with another role",
			play: func(t *testing.T, w world) {
				w.begin("1", "a", nil)
				u, who := has("1", "b")
				u.Role = control.Admin
				if _, _, err := w.BeginOf(t.Context(), u, w.p.Mark(), who, nil); err != nil {
					t.Error(err)
				}
			},
			ends: func(w world) { w.Disown(w.p.Mark(), "1") }, want: "a b"},
		{name: "another of his name",
			play: func(t *testing.T, w world) {
				w.begin("1", "a", nil)
				u, who := has("1", "b")
				who.Subject = "2"
				if _, _, err := w.BeginOf(t.Context(), u, w.p.Mark(), who, nil); !errors.Is(err, ErrTaken) {
					t.Error(err)
				}
			},
			early: "b", ends: func(world) {}, want: "b"},
		{name: "not let in",
			play:  func(_ *testing.T, w world) { _, who := has("1", "a"); w.Decline(who) },
			early: "a", ends: func(world) {}, want: "a"},
		{name: "somebody else decides",
			play: func(_ *testing.T, w world) { w.begin("1", "a", nil) },
			ends: func(w world) { w.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &forgetful{says: map[string]any{"revocation_endpoint": forgetfulAt + "/revoke"}}
				w := world{p: f.provider(t)}
				w.Logins = New(Config{Provider: w.p})
				defer w.Close()
				w.begin = func(subject, token string, old *Login) *Login {
					u, who := has(subject, token)
					l, _, err := w.BeginOf(t.Context(), u, w.p.Mark(), who, old)
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second) // or which is older?
					return l
				}
				after := func(when, want string) {
					synctest.Wait()
					f.mu.Lock()
					defer f.mu.Unlock()
					slices.Sort(f.revoked)
					if got := strings.Join(f.revoked, " "); got != want {
						t.Errorf("%s %q are revoked, want %q", when, got, want)
					}
				}
				tt.play(t, w)
				after("at first", tt.early)
				tt.ends(w)
				after("then", tt.want)
				if st := w.Stats(); st.Unrevoked != tt.lost || int(st.Revoked) != len(strings.Fields(tt.want)) {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// Nobody waits for a provider that takes its time, but who stops the console.
func TestRevokedInTheBackground(t *testing.T) {
	for _, tt := range []struct {
		takes, waits time.Duration
		want         Stats
	}{
		{3 * time.Second, 3 * time.Second, Stats{Revoked: 1}},
		{time.Hour, revokeFor, Stats{Unrevoked: 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &forgetful{says: map[string]any{"revocation_endpoint": forgetfulAt + "/revoke"}, takes: tt.takes}
			p := f.provider(t)
			s := New(Config{Provider: p})
			u, who := has("1", "a")
			l, _, err := s.BeginOf(t.Context(), u, p.Mark(), who, nil)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := s.SignOut(t.Context(), l); err != nil || time.Since(began) != 0 {
				t.Errorf("signed out after %v: %v", time.Since(began), err)
			}
			s.Close()
			if took := time.Since(began); took != tt.waits || s.Stats() != tt.want {
				t.Errorf("stopped after %v: %+v", took, s.Stats())
			}
			s.Decline(who)
			s.Close()
			if len(f.sent) != 1 {
				t.Errorf("asked %d times", len(f.sent))
			}
		})
	}
}

// How a provider is asked, and what of its answers is said.
func TestRevoke(t *testing.T) {
	const at = forgetfulAt + "/revoke"
	for _, tt := range []struct {
		name string
		f    *forgetful
		form string // of the request; empty: none is made
		user string
		want string // in the error; empty: none
	}{
		{name: "as is usual", f: &forgetful{says: map[string]any{"revocation_endpoint": at}}, form: "token=t0ken&token_type_hint=refresh_token", user: "boothwire%3A1 a+b"},
		{name: "with the secret in the form", f: &forgetful{says: map[string]any{"revocation_endpoint": at, "token_endpoint_auth_methods_supported": []string{"client_secret_post"}}},
			form: "client_id=boothwire%3A1&client_secret=a+b&token=t0ken&token_type_hint=refresh_token"},
		{name: "it states no address", f: &forgetful{}, want: errors.ErrUnsupported.Error()},
		{name: "an address of another shape", f: &forgetful{says: map[string]any{"revocation_endpoint": 7}}, want: errors.ErrUnsupported.Error()},
		{name: "an address that others hear", f: &forgetful{says: map[string]any{"revocation_endpoint": "http://id.example.com/revoke"}}, want: "which is no HTTPS"},
		{name: "no address", f: &forgetful{says: map[string]any{"revocation_endpoint": "/revoke"}}, want: "which is no HTTPS"},
		{name: "busy, and it quotes", f: &forgetful{says: map[string]any{"revocation_endpoint": at}, status: 503}, form: "token=t0ken&token_type_hint=refresh_token", user: "boothwire%3A1 a+b", want: "answered 503"},
		{name: "it points elsewhere", f: &forgetful{says: map[string]any{"revocation_endpoint": at}, status: 307}, form: "token=t0ken&token_type_hint=refresh_token", user: "boothwire%3A1 a+b", want: "answered 307"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.f.provider(t).Revoke(t.Context(), "t0ken")
			if (err != nil) != (tt.want != "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "t0ken")) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			var got bytes.Buffer
			for _, r := range tt.f.sent {
				user, secret, _ := r.BasicAuth()
				fmt.Fprintf(&got, "%s %s|%s", r.URL, r.PostForm.Encode(), strings.TrimSpace(user+" "+secret))
			}
			want := ""
			if tt.form != "" {
				want = at + " " + tt.form + "|" + tt.user
			}
			if got.String() != want {
				t.Errorf("sent %q, want %q", got.String(), want)
			}
		})
	}
}
