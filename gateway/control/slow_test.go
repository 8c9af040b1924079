package control

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
)

// deadlines is an answer whose connection tells when reads of it end.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// Anybody can show a certificate and begin a body: it must come to an end.
func TestNodeBodiesEnd(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	for path, identity := range map[string]keys.IdentityKey{pathEnroll: w.device("x", keys.NewMemory()).Key(), pathReport: n.id.Key()} {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
		d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		before := time.Now()
		w.c.ServeHTTP(d, r.WithContext(contextWithIdentity(t.Context(), identity)))
		if len(d.set) != 2 || d.set[0].Before(before) || d.set[0].After(time.Now().Add(time.Minute)) || !d.set[1].IsZero() {
			t.Errorf("%s: deadlines %v", path, d.set)
		}
	}
}
