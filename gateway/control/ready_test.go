package control

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/boothwire/boothwire/internal/health"
	"github.com/boothwire/boothwire/signaling"
)

// downLine is a line whose broker is away.
type downLine struct{ signaling.Sender }

func (downLine) Up() bool { return false }

func TestHealth(t *testing.T) {
	w := newWorld(t, &Config{ready: patience})
	says := func(what string, want Health) {
		t.Helper()
		if got := w.c.Health(t.Context()); !slices.Equal(got.Reasons, want.Reasons) || !slices.Equal(got.Limits, want.Limits) {
			t.Errorf("%s: %+v", what, got)
		}
	}
	says("without nodes", Health{Limits: []health.Reason{{Part: "nodes", Why: "none takes sessions"}}})
	w.node("wg-1")
	says("all is well", Health{})
	w.c.mu.Lock()
	w.c.lines = append(w.c.lines, downLine{})
	w.c.mu.Unlock()
	says("a broker is away", Health{Limits: []health.Reason{{Part: "line", Why: "it is not connected"}}})
	w.c.mu.Lock()
	w.c.lines = w.c.lines[:len(w.c.lines)-1]
	w.c.mu.Unlock()

	// Whoever asks from outside hears no more than that.
	w.c.store.Close()
	says("no database", Health{Reasons: []health.Reason{{Part: "store", Why: "it does not answer"}}})
	r := httptest.NewRecorder()
	w.c.ServeHTTP(r, httptest.NewRequest("GET", "/readyz", nil))
	if r.Code != http.StatusServiceUnavailable || r.Body.String() != `{"ready":false,"reasons":[{"part":"store","why":"it does not answer"}]}`+"\n" {
		t.Errorf("readyz: %d %s", r.Code, r.Body)
	}
	w.c.Close()
	says("the end", Health{Reasons: []health.Reason{{Part: "control", Why: "it ends"}}})
}
