package control

import (
	"net/http"
	"strings"
	"testing"

	"github.com/boothwire/boothwire/gateway/control/client"
)

// A stream that began with a token ends with it.
func TestWatchEndsWithToken(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	b := w.booth("kiosk-1", true).serve().known()
	n.proves(b)
	s := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	url, secret := w.served(), w.token(op("ann"))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/v1/sessions/"+s.ID+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	r, err := tr.RoundTrip(req)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", r, err)
	}
	defer r.Body.Close()
	got := make(chan string, 64)
	go func() {
		defer close(got)
		for buf := make([]byte, 64<<10); ; {
			k, err := r.Body.Read(buf)
			if got <- string(buf[:k]); err != nil {
				return
			}
		}
	}()
	for !strings.Contains(<-got, "event: session") {
	}
	for k, err := range w.admin.Tokens(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := w.admin.DeleteToken(t.Context(), k.ID); err != nil {
			t.Fatal(err)
		}
	}
	w.mustOpen(op("bob"), "kiosk-1") // news
	for text := range got {
		if strings.Contains(text, "bob") {
			t.Fatal("told after the token was deleted")
		}
	}
}

// A user follows the devices so often at a time, whatever he shows for himself, and takes
// nobody else's place.
func TestStreamsAreCounted(t *testing.T) {
	w := newWorld(t, nil)
	follow := func(u User) (status int, end func()) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, localURL+"/api/v1/devices/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := w.c.As(u).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, func() { res.Body.Close() }
	}
	ann := User{Name: "ann", Role: Viewer}
	var ends []func()
	for len(ends) < 10_000 {
		status, end := follow(ann)
		if status == http.StatusTooManyRequests {
			end()
			break
		}
		ends = append(ends, end)
	}
	if n := len(ends); n < 100 || n > 1000 {
		t.Errorf("one user has %d streams", n)
	}
	status, end := follow(User{Name: "bob", Role: Viewer})
	if end(); status != http.StatusOK {
		t.Errorf("another user: %d", status)
	}
	for _, end := range ends {
		end()
	}
	eventually(t, "room again", func() bool {
		status, end := follow(ann)
		end()
		return status == http.StatusOK
	})
}
