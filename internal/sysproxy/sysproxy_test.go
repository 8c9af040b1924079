package sysproxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
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
			got, err := ask(httptest.NewRequest("GET", "https://relay.example/relay", nil), tt.system, time.Minute)
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
	system := func(*http.Request) (*url.URL, error) { <-hang; return &url.URL{Host: "late:1"}, nil }
	if got, err := ask(httptest.NewRequest("GET", "https://relay.example/", nil), system, time.Millisecond); got != nil || err != nil {
		t.Errorf("after its time: %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", "https://relay.example/", nil)
	if _, err := ask(r, system, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}
