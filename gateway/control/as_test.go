package control

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// A way to the API is its user's, whatever a request says of itself.
func TestAs(t *testing.T) {
	w := newWorld(t, nil)
	w.booth("kiosk-1", true)
	way := w.c.As(User{Name: "eve", Role: Viewer, Groups: []string{"north"}})
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/api/v1/trust", http.StatusOK},
		{http.MethodGet, "/api/v1/devices/kiosk-1", http.StatusNotFound},
		{http.MethodGet, "/api/v1/tokens", http.StatusForbidden},
		{http.MethodDelete, "/api/v1/devices/kiosk-1", http.StatusForbidden},
		{http.MethodGet, pathFollow, http.StatusForbidden},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, "https://elsewhere.example"+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+w.token(User{Name: "ann", Role: Admin}))
		r.Header.Set(headerIdentity, identity(t).Key().String())
		res, err := way.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, res.StatusCode, tt.status)
		}
	}
}

// A member that has the lead is its Control; one that has not says so.
func TestMemberAs(t *testing.T) {
	alone, err := Join(t.Context(), "file:"+filepath.Join(t.TempDir(), "control.db"), &Config{Store: keys.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	api := client.New(localURL, &client.Config{HTTP: &http.Client{Transport: alone.As(op("ann"))}})
	if v, err := api.Trust(t.Context()); err != nil || len(v.Roots) == 0 {
		t.Errorf("%+v, %v", v, err)
	}
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
	for what, m := range map[string]*Member{"one whose term is over": alone, "one that never had the lead": {}} {
		body := &closing{Reader: strings.NewReader("{}")}
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, localURL+"/api/v1/sessions", body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := m.As(op("ann")).RoundTrip(r)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		var e client.Error
		if err := json.NewDecoder(res.Body).Decode(&e); err != nil || e.Code != codeNoLead || res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %+v, %v", what, res.StatusCode, e, err)
		}
		if !body.closed {
			t.Errorf("%s: the request's body is open", what)
		}
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// A fault of one call ends that call, and nothing else in the process.
func TestAsOutlivesAFault(t *testing.T) {
	c, err := Open(t.Context(), "file:"+filepath.Join(t.TempDir(), "control.db"), &Config{Store: keys.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			w.Write([]byte("half"))
		}
		panic("a fault")
	})
	for path, want := range map[string]int{"/early": http.StatusInternalServerError, "/late": http.StatusOK} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, localURL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.As(op("ann")).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(res.Body); res.StatusCode != want || err == nil {
			t.Errorf("%s: %d, and the answer looks whole: %v", path, res.StatusCode, err)
		}
		res.Body.Close()
	}
}
