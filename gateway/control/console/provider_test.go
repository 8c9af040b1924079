package console

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// provider is an OpenID provider over real HTTP, with one client and one user, who
// always agrees (OpenID Connect Core 1.0, section 3.1; RFC 7636).
type provider struct {
	*httptest.Server
	t   *testing.T
	key *rsa.PrivateKey

	mu     sync.Mutex
	codes  map[string]url.Values // what was asked for, by code
	claims map[string]any        // beside or instead of the usual ones
	refuse string                // the error that it answers instead of a code
	signer *rsa.PrivateKey       // of tokens

	// How it answers when asked again: "" (no refresh tokens), "token" (by an ID token),
	// "info" (by user information), "silent" (without groups), "gone", "away".
	again   string
	refresh map[string]bool // tokens that are good, each once
	asked   int             // again

	// How it answers when it is to revoke a token: "" (it states no address for that),
	// "all" (whatever its user has goes with it), "away", "silent", "elsewhere", or, where
	// it would have it sent to, an URL.
	revoke  string
	revoked []string
	calls   chan struct{} // to revoke; full: not looked at
	hurry   chan struct{} // closed: "silent" answers
}

// change has the provider think otherwise from now on.
func (p *provider) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// asks is how often it was asked again.
func (p *provider) asks() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

const (
	clientID     = "boothwire"
	clientSecret = "s3cret"
)

// providerKey is every provider's: to make one takes long.
var providerKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{t: t, key: providerKey(), signer: providerKey(), codes: make(map[string]url.Values), claims: make(map[string]any), refresh: make(map[string]bool)}
	p.calls, p.hurry = make(chan struct{}, 100), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.describe)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", p.information)
	mux.HandleFunc("POST /revoke", p.forget)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) say(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (p *provider) describe(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	says := map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys", "userinfo_endpoint": p.URL + "/userinfo",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
	}
	switch {
	case strings.Contains(p.revoke, "://"):
		says["revocation_endpoint"] = p.revoke
	case p.revoke != "":
		says["revocation_endpoint"] = p.URL + "/revoke"
	}
	p.say(w, says)
}

func (p *provider) keys(w http.ResponseWriter, _ *http.Request) {
	enc := base64.RawURLEncoding.EncodeToString
	p.say(w, map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": enc(p.key.N.Bytes()), "e": enc(big.NewInt(int64(p.key.E)).Bytes()),
	}}})
}

// authorize sends the browser back at once.
func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for name, want := range map[string]string{"response_type": "code", "client_id": clientID, "code_challenge_method": "S256"} {
		if q.Get(name) != want {
			p.t.Errorf("asked with %s %q", name, q.Get(name))
		}
	}
	if len(q.Get("state")) < 20 || len(q.Get("nonce")) < 20 || len(q.Get("code_challenge")) < 40 {
		p.t.Errorf("asked with %v", q)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	back := url.Values{"state": {q.Get("state")}}
	if p.refuse != "" {
		back.Set("error", p.refuse)
	} else {
		code := rand.Text()
		p.codes[code] = q
		back.Set("code", code)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// token spends a code.
func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.FormValue("grant_type") == "refresh_token" && id == clientID && secret == clientSecret {
		p.answerAgain(w, r.FormValue("refresh_token"))
		return
	}
	asked := p.codes[r.FormValue("code")]
	delete(p.codes, r.FormValue("code"))
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if id != clientID || secret != clientSecret || asked == nil || base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge") || r.FormValue("redirect_uri") != asked.Get("redirect_uri") {
		w.WriteHeader(http.StatusBadRequest)
		p.say(w, map[string]string{"error": "invalid_grant"})
		return
	}
	claims := p.says()
	if _, ok := claims["nonce"]; !ok {
		claims["nonce"] = asked.Get("nonce")
	}
	answer := p.tokens()
	answer["id_token"] = p.sign(claims)
	p.say(w, answer)
}

// says are the claims about the user at present; mu is held.
func (p *provider) says() map[string]any {
	claims := map[string]any{
		"iss": p.URL, "aud": clientID, "sub": "1", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
		"preferred_username": "ann", "groups": []string{"kiosk-service"},
	}
	maps.Copy(claims, p.claims)
	return claims
}

// tokens are an access token and, if it gives any, a refresh token; mu is held.
func (p *provider) tokens() map[string]any {
	answer := map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 60}
	if p.again != "" {
		fresh := rand.Text()
		p.refresh[fresh] = true
		answer["refresh_token"] = fresh
	}
	return answer
}

// answerAgain spends a refresh token; mu is held.
func (p *provider) answerAgain(w http.ResponseWriter, token string) {
	p.asked++
	if p.again == "away" {
		http.Error(w, "later", http.StatusServiceUnavailable)
		return
	}
	good := p.refresh[token]
	delete(p.refresh, token)
	if !good || p.again == "gone" {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		p.say(w, map[string]string{"error": "invalid_grant"})
		return
	}
	answer := p.tokens()
	claims := p.says()
	if p.again != "token" {
		delete(claims, "groups")
	}
	if p.again != "info" {
		answer["id_token"] = p.sign(claims)
	}
	p.say(w, answer)
}

// forget revokes a token (RFC 7009), and, as some providers do, all of its user's.
func (p *provider) forget(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	if r.FormValue("token_type_hint") != "refresh_token" || id != clientID || secret != clientSecret {
		p.t.Errorf("asked to revoke by %s: %v", id, r.Form)
	}
	p.calls <- struct{}{}
	p.mu.Lock()
	how := p.revoke
	p.mu.Unlock()
	switch how {
	case "away":
		http.Error(w, r.FormValue("token"), http.StatusServiceUnavailable)
		return
	case "elsewhere":
		http.Redirect(w, r, p.URL+"/elsewhere", http.StatusTemporaryRedirect)
		return
	case "silent":
		<-p.hurry
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked = append(p.revoked, r.FormValue("token"))
	clear(p.refresh)
}

func (p *provider) information(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer a" {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	claims := p.says()
	if p.again == "silent" {
		delete(claims, "groups")
	}
	p.say(w, claims)
}

// sign makes a JWS (RFC 7515) with RS256.
func (p *provider) sign(claims map[string]any) string {
	enc := base64.RawURLEncoding.EncodeToString
	body, err := json.Marshal(claims)
	if err != nil {
		p.t.Error(err)
	}
	text := enc([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + enc(body)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, p.signer, crypto.SHA256, sum[:])
	if err != nil {
		p.t.Error(err)
	}
	return text + "." + enc(sig)
}
