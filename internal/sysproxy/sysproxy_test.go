package sysproxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

func TestAsk(t *testing.T) {
	broken := errors.New("no settings")
	says := func(u *url.URL, err error) func(*http.Request) (*url.URL, error) {
		return func(*http.Request) (*url.URL, error) { return u, err }
	}
	for _, tt := range []struct {
		name   string
		system func(*http.Request) (*url.URL, error)
		want   string
		err    error
	}{
		{"none", says(nil, nil), "", nil},
		{"a host", says(&url.URL{Host: "proxy:3128"}, nil), "http://proxy:3128", nil},
		{"an address", says(&url.URL{Scheme: "https", Host: "proxy:443"}, nil), "https://proxy:443", nil},
		{"nothing in it", says(&url.URL{Scheme: "http"}, nil), "", nil},
		{"broken", says(nil, broken), "", broken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := new(asking).ask(httptest.NewRequest("GET", "https://relay.example/relay", nil), tt.system, time.Minute)
			text := ""
			if got != nil {
				text = got.String()
			}
			if text != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%q, %v; want %q, %v", text, err, tt.want, tt.err)
			}
		})
	}
}

// A system that thinks for long holds up nobody.
func TestAskIsPatient(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	var asked atomic.Int32
	system := func(*http.Request) (*url.URL, error) { asked.Add(1); <-hang; return &url.URL{Host: "late:1"}, nil }
	var a asking
	if got, err := a.ask(httptest.NewRequest("GET", "https://relay.example/", nil), system, time.Millisecond); got != nil || err != nil {
		t.Errorf("after its time: %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", "https://relay.example/", nil)
	if _, err := a.ask(r, system, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	if n := asked.Load(); n > 1 {
		t.Errorf("it is asked %d times at once", n)
	}
}

// What the environment says of proxies goes before the system's settings, its
// exceptions too; nothing is asked for this machine itself.
func TestForAsksTheSystemLast(t *testing.T) {
	before := system
	t.Cleanup(func() { system = before })
	system = func(*http.Request) (*url.URL, error) { return &url.URL{Host: "settings:3128"}, nil }
	to := func(url string) string {
		t.Helper()
		proxy, err := For(httptest.NewRequest("GET", url, nil))
		if err != nil {
			t.Fatal(err)
		}
		if proxy == nil {
			return ""
		}
		return proxy.Host
	}
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		t.Setenv(name, "")
	}
	if got := to("https://relay.example/"); got != "settings:3128" {
		t.Errorf("without an environment: %q", got)
	}
	for _, url := range []string{"https://localhost/", "https://127.0.0.1:8443/", "https://[::1]/"} {
		if got := to(url); got != "" {
			t.Errorf("%s by %q", url, got)
		}
	}
	t.Setenv("HTTPS_PROXY", "http://environment:3128") // read once by net/http: here it only counts as set
	if got := to("https://relay.example/"); got == "settings:3128" {
		t.Error("the system's settings went before the environment")
	}
}
