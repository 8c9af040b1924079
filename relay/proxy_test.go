package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// What a proxy says, and what of it an engineer reads.
func TestProxies(t *testing.T) {
	secret := url.UserPassword("booth", "hush hush")
	for name, tc := range map[string]struct {
		answer string
		user   *url.Userinfo
		want   string // in the error; empty: none
	}{
		"takes it":         {"HTTP/1.1 200 Connection established\r\n\r\n", secret, ""},
		"wants a password": {"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"shop\"\r\n\r\n", nil, `"Basic realm=\"shop\""`},
		"wants another":    {"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\n\r\n", secret, `"NTLM"`},
		"forbids":          {"HTTP/1.1 403 Forbidden\r\n\r\n", secret, "403 Forbidden"},
		"draws":            {"HTTP/1.1 403 \x1b[2J\u202e\xff" + strings.Repeat("é", 4<<10) + "\r\n\r\n", nil, "403 ?[2J??é"},
		"wants a lot":      {"HTTP/1.1 407 No\r\nProxy-Authenticate: " + strings.Repeat("x", 8<<10) + "\r\n\r\n", nil, "xxx"},
		"is a long none":   {strings.Repeat("x", 8<<10) + "\r\n", nil, "answer"},
		"is none":          {"SSH-2.0-OpenSSH_9.2\r\n", secret, "answer"},
		"talks for ever":   {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 64<<10), secret, "answer"},
		"hangs up":         {"", secret, "answer"},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			heard := make(chan *http.Request, 1)
			go func() {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				heard <- req
				io.WriteString(c, tc.answer)
			}()
			c, err := connect(t.Context(), &url.URL{Scheme: "http", User: tc.user, Host: ln.Addr().String()}, "relay.test:8443")
			if c != nil {
				c.Close()
			}
			text := fmt.Sprint(err)
			if (err == nil) != (tc.want == "") || !strings.Contains(text, tc.want) || strings.Contains(text, "hush") {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if len(text) > shownMost+150 || strings.Contains(text, "\x1b") {
				t.Errorf("%d bytes: %q", len(text), text)
			}
			if e, ok := errors.AsType[*Error](err); err != nil && (!ok || e.Reason != "proxy") {
				t.Errorf("%#v", err)
			}
			req := <-heard
			user := ""
			if tc.user != nil {
				user = "Basic " + base64.StdEncoding.EncodeToString([]byte("booth:hush hush"))
			}
			if req.Method != http.MethodConnect || req.Host != "relay.test:8443" || req.Header.Get("Proxy-Authorization") != user {
				t.Errorf("it was asked %s %s with %q", req.Method, req.Host, req.Header.Get("Proxy-Authorization"))
			}
		})
	}
	for _, raw := range []string{"socks5://booth:hush%20hush@127.0.0.1:1", "http://booth:hush%20hush@127.0.0.1:1", "https://booth:hush%20hush@127.0.0.1:1"} {
		u, _ := url.Parse(raw)
		if _, err := connect(t.Context(), u, "relay.test:443"); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%v", err)
		}
	}
}

// A relay's URL names no user, who would be shown in errors and sent to it.
func TestURLWithUser(t *testing.T) {
	cfg := (*Config)(nil).withDefaults()
	_, _, _, err := call(t.Context(), &cfg, time.Second, time.Second, keys.Relay{URL: "https://booth:hush@relay.test/relay"}, keys.NewPrivateKey(), 0)
	if e, ok := errors.AsType[*Error](err); !ok || e.Reason != "malformed" || !strings.Contains(e.Error(), "URL") || strings.Contains(e.Error(), "hush") {
		t.Errorf("%v", err)
	}
}

// A proxy that says nothing costs its time and no more.
func TestProxySilent(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := connect(ctx, &url.URL{Scheme: "http", Host: ln.Addr().String()}, "relay.test:443"); err == nil {
		t.Error("connected")
	}
}

// A system that thinks about its proxy thinks no longer than the caller waits.
func TestProxySlow(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cfg := &Config{Proxy: func(r *http.Request) (*url.URL, error) {
		cancel()
		<-r.Context().Done()
		return nil, r.Context().Err()
	}}
	token := "a." + base64.RawURLEncoding.EncodeToString([]byte(`{"leg":0}`)) + ".c"
	list := []keys.Relay{{URL: "https://relay.invalid/relay", Key: keys.NewPrivateKey().Public(), Token: token}}
	if _, err := Dial(ctx, list, keys.NewPrivateKey(), cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A relay without TLS 1.3 is none.
func TestOldTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
	srv.StartTLS()
	defer srv.Close()
	at, _ := url.Parse(srv.URL)
	cfg := (*Config)(nil).withDefaults()
	cfg.TLS = srv.Client().Transport.(*http.Transport).TLSClientConfig
	c, err := (&road{cfg: &cfg, at: at, limit: time.Minute}).secure(t.Context())
	if e, ok := errors.AsType[*Error](err); !ok || e.Reason != "tls" {
		t.Errorf("%v", err)
	}
	if c != nil {
		c.Close()
	}
}

// answer is a proxy that says that, whatever it is asked.
type answer struct {
	net.Conn // nil: nothing else is called
	io.Reader
}

func (a answer) Read(b []byte) (int, error)  { return a.Reader.Read(b) }
func (a answer) Write(b []byte) (int, error) { return len(b), nil }

// Whatever a proxy answers, only a yes is one.
func FuzzProxy(f *testing.F) {
	f.Add("HTTP/1.1 200 Connection established\r\n\r\n")
	f.Add("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"shop\"\r\n\r\n")
	f.Add("HTTP/1.0 302 Found\r\nLocation: http://portal/\r\nContent-Length: 99999999999\r\n\r\n")
	f.Add("HTTP/1.1 2")
	f.Fuzz(func(t *testing.T, said string) {
		err := ask(answer{Reader: strings.NewReader(said)}, url.UserPassword("booth", "hush"), "relay.test:443")
		if err == nil && !strings.HasPrefix(said, "HTTP/") {
			t.Errorf("a yes: %q", said)
		}
		if err != nil && strings.Contains(err.Error(), base64.StdEncoding.EncodeToString([]byte("booth:hush"))) && !strings.Contains(said, "Ym9vdGg6aHVzaA") {
			t.Errorf("it tells the password: %v", err)
		}
	})
}
