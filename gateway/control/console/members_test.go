package console

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/internal/postgrestest"
	"github.com/boothwire/boothwire/keys"
)

// member is one of several controls, each with a console, as boothwire-control runs them.
type member struct {
	*desk
	*control.Member
	leave func() // as at a planned stop
}

// newMembers are two: the first has the lead.
func newMembers(t *testing.T) (a, b *member) {
	t.Helper()
	dsn, shared := postgrestest.Start(t).Database(), keys.NewMemory()
	a = join(t, dsn, shared)
	soon(t, "the first leads", a.Leads)
	b = join(t, dsn, shared)
	soon(t, "the second knows", func() bool { return len(b.Health(t.Context()).Reasons) == 0 })
	return a, b
}

func join(t *testing.T, dsn string, shared keys.Store) *member {
	t.Helper()
	var serves atomic.Pointer[http.Handler]
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*serves.Load()).ServeHTTP(w, r) }))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	pin := sha256.Sum256(srv.Certificate().RawSubjectPublicKeyInfo)
	m, err := control.Join(t.Context(), dsn, &control.Config{Store: shared, URL: srv.URL, URLPin: base64.RawURLEncoding.EncodeToString(pin[:])})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(m, &Config{Local: &Local{Name: "admin", Hash: hashWord}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/console/", s)
	mux.Handle("/", m)
	h := m.Handler(mux, "/console/")
	serves.Store(&h)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	leave := sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("run ended with %v", err)
		}
		if err := errors.Join(s.Close(), m.Close()); err != nil {
			t.Error(err)
		}
		srv.CloseClientConnections()
		srv.Close()
	})
	t.Cleanup(leave)
	return &member{&desk{Console: s, url: srv.URL, served: srv}, m, leave}
}

// at is a browser at another member, with what b has: the members share a name.
func (d *desk) at(t *testing.T, b *http.Client, from *desk) *http.Client {
	t.Helper()
	there := *b
	there.Transport = d.served.Client().Transport
	there.Jar, _ = cookiejar.New(nil)
	d.give(t, &there, from.secret(t, b))
	return &there
}

// A login holds at whichever control a browser comes to, and when another decides; a
// sign-out counts at all of them at once, and does not come undone.
func TestLoginsOfSeveralControls(t *testing.T) {
	a, b := newMembers(t)
	ann := adminAt(t, b.desk) // carried to the first
	left := adminAt(t, a.desk)
	annA, leftB := a.at(t, ann, b.desk), b.at(t, left, a.desk)
	for what, in := range map[string]bool{"at the second": b.in(t, ann), "at the first": a.in(t, annA), "the other": b.in(t, leftB)} {
		if !in {
			t.Errorf("%s she is out", what)
		}
	}
	stolen := a.secret(t, left)
	stream := b.follow(t, ann, "/console/api/v1/devices/events")
	if status, _, _ := ask(t, leftB, "POST", b.url+"/console/signout", url.Values{}); status != http.StatusSeeOther {
		t.Errorf("a sign-out at the second: %d", status)
	}
	if a.in(t, left) || b.in(t, leftB) {
		t.Error("who signed out at one is in at another")
	}

	a.leave()
	<-stream // it was carried to who decides no more
	soon(t, "the second leads", b.Leads)
	if !b.in(t, ann) {
		t.Error("she is out when another decides")
	}
	b.give(t, leftB, stolen)
	if b.in(t, leftB) {
		t.Error("who signed out before is in")
	}
	if a.Console.logins.Len() != 0 {
		t.Error("the first has logins yet")
	}
}

// Once another may decide, what a control has open for its logins ends, and it lets
// nobody in by what it remembers.
func TestLoginsOfADeposedControl(t *testing.T) {
	a, b := newMembers(t)
	ann := adminAt(t, a.desk)
	l, ok := a.Console.logins.Find(a.secret(t, ann))
	if !ok {
		t.Fatal("no login")
	}
	term := a.Logins().Term()
	a.leave()
	<-term.Done()
	<-l.Context().Done()
	if _, ok := a.Console.logins.Find(a.secret(t, ann)); ok {
		t.Error("it is found by who decides no more")
	}
	soon(t, "the second leads", b.Leads)
	if !b.in(t, b.at(t, ann, a.desk)) {
		t.Error("she is out")
	}
}
