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
