package gateway

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// fakeControl speaks the server's side of the wire, and remembers what nodes said.
type fakeControl struct {
	t      testing.TB
	server *httptest.Server
	a      *authority

	mu      sync.Mutex
	claims  map[string]keys.IdentityKey // used by; zero: unused
	names   map[keys.IdentityKey]string
	live    []string                  // lines that every follow gets after hello
	streams map[chan string]time.Time // since when
	follows int
	relays  int // follows that asked for what relays need
	reports []report
	fail    int  // how many reports to answer with 500
	lose    bool // the answers of reports
	mute    bool // no pings, and nothing after hello
	ping    time.Duration
}

func newFakeControl(t testing.TB, a *authority) *fakeControl {
	c := &fakeControl{
		t: t, a: a, claims: make(map[string]keys.IdentityKey), names: make(map[keys.IdentityKey]string),
		streams: make(map[chan string]time.Time), ping: 50 * time.Millisecond,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathEnroll, c.enroll)
	mux.HandleFunc("POST "+pathReport, c.report)
	mux.HandleFunc("GET "+pathFollow, c.follow)
	c.server = httptest.NewUnstartedServer(mux)
	c.server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	c.server.EnableHTTP2 = true
	c.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	c.server.StartTLS()
	t.Cleanup(func() {
		c.server.CloseClientConnections()
		c.server.Close()
	})
	return c
}

// claim issues a claim that pins the server's certificate.
func (c *fakeControl) claim(i byte) string {
	sum := sha256.Sum256(c.server.Certificate().RawSubjectPublicKeyInfo)
	text := claimPrefix + base64.RawURLEncoding.EncodeToString([]byte{i, 15: 0}) + "." + base64.RawURLEncoding.EncodeToString(sum[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claims[text] = keys.IdentityKey{}
	return text
}

func (c *fakeControl) identity(r *http.Request) keys.IdentityKey {
	return must(keys.IdentityOf(r.TLS.PeerCertificates[0]))
}

func refuseHTTP(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"status":%d,"code":%q,"title":"no","detail":"because"}`, status, code)
}

func (c *fakeControl) enroll(w http.ResponseWriter, r *http.Request) {
	var q enrollRequest
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		refuseHTTP(w, 400, "malformed")
		return
	}
	id := c.identity(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	by, ok := c.claims[q.Claim]
	if !ok || by != (keys.IdentityKey{}) && by != id {
		refuseHTTP(w, 403, "claim_used")
		return
	}
	c.claims[q.Claim] = id
	c.names[id] = "wg-bj-01"
	json.NewEncoder(w).Encode(map[string]any{"name": "wg-bj-01", "issuer": "test", "roots": []string{c.a.text}, "proof": "10.166.0.1", "pool": "10.166.0.0/16"})
}

func (c *fakeControl) known(w http.ResponseWriter, r *http.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.names[c.identity(r)]; !ok {
		refuseHTTP(w, 403, "unknown_node")
		return false
	}
	return true
}

func (c *fakeControl) report(w http.ResponseWriter, r *http.Request) {
	if !c.known(w, r) {
		return
	}
	var q report
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		if r.Context().Err() == nil {
			c.t.Error(err)
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail > 0 {
		c.fail--
		refuseHTTP(w, 500, "")
		return
	}
	c.reports = append(c.reports, q)
	if c.lose {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(204)
}

func (c *fakeControl) follow(w http.ResponseWriter, r *http.Request) {
	if !c.known(w, r) {
		return
	}
	lines := make(chan string, 100)
	c.mu.Lock()
	c.follows++
	if r.URL.RawQuery == withRelay[1:] {
		c.relays++
	}
	c.streams[lines] = time.Now()
	live := append([]string{`{"kind":"hello","proof":"10.166.0.1","pool":"10.166.0.0/16"}`}, c.live...)
	mute, ping := c.mute, c.ping
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.streams, lines)
		c.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(200)
	for _, l := range live {
		fmt.Fprintln(w, l)
	}
	w.(http.Flusher).Flush()
	ticker := time.NewTicker(ping)
	defer ticker.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case l, ok := <-lines:
			if !ok {
				return
			}
			fmt.Fprintln(w, l)
		case <-ticker.C:
			if mute {
				continue
			}
			fmt.Fprintln(w, `{"kind":"ping"}`)
		}
		w.(http.Flusher).Flush()
	}
}

// say sends a line to every stream, and with keep to later ones too.
func (c *fakeControl) say(keep bool, l string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if keep {
		c.live = append(c.live, l)
	}
	for s := range c.streams {
		s <- l
	}
}

// lasts reports whether a stream stands that began at least as long ago.
func (c *fakeControl) lasts(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, since := range c.streams {
		if time.Since(since) >= d {
			return true
		}
	}
	return false
}

// hangUp ends every stream.
func (c *fakeControl) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.streams {
		close(s)
		delete(c.streams, s)
	}
}

func (c *fakeControl) set(f func(c *fakeControl)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

func (c *fakeControl) got() (follows int, reports []report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.follows, append([]report(nil), c.reports...)
}

// told reports whether an event has been reported.
func (c *fakeControl) told(kind, session, code string) bool {
	_, reports := c.got()
	for _, r := range reports {
		for _, e := range r.Events {
			if e.Kind == kind && e.Session == session && e.Code == code && e.AtMicro != 0 {
				return true
			}
		}
	}
	return false
}

func grantLine(session string, token []byte) string {
	return fmt.Sprintf(`{"kind":"grant","session":%q,"token":%q}`, session, token)
}

func endLine(session string, token []byte) string {
	return fmt.Sprintf(`{"kind":"end","session":%q,"token":%q}`, session, token)
}
