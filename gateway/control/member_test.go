package control

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/internal/store"
	"github.com/boothwire/boothwire/internal/postgrestest"
	"github.com/boothwire/boothwire/keys"
)

// What control does does not depend on which database it has.
func TestOnPostgres(t *testing.T) {
	w := newWorldOn(t, postgrestest.Start(t).Database(), nil)
	n, _, s := w.connected()
	n.stop()
	w.restart()
	n.connect()
	n.follow()
	if v := w.reaches(s.ID, client.Connected); v.Address != s.Address || v.Rev < s.Rev {
		t.Errorf("after a restart: %+v", v)
	}
	w.mustClose(op("ann"), s.ID)
	w.reaches(s.ID, client.Closed)
	if again := w.mustOpen(op("bob"), "kiosk-1"); again.Address != s.Address {
		t.Errorf("the device has another address: %v, %v", again.Address, s.Address)
	}
}

// An address that is somebody's by the database's word goes to nobody, whatever memory
// has.
func TestAddressOfAnother(t *testing.T) {
	w := newWorld(t, nil)
	w.pair()
	if err := w.c.store.Do(t.Context(), func(tx *store.Tx) error {
		return tx.TakeAddress(store.Address{Address: "10.166.0.1", Kind: "device", Holder: "another", Used: time.Now()}, time.Now())
	}); err != nil {
		t.Fatal(err)
	}
	if s := w.mustOpen(op("ann"), "kiosk-1"); s.Address.String() != "10.166.0.2" {
		t.Errorf("opened with %v", s.Address)
	}
}

// Where the end of a session was not written before a process was killed, the device's
// later one is its session, and the earlier is closed.
func TestEndNotWritten(t *testing.T) {
	w := newWorld(t, nil)
	n, _ := w.pair()
	first := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(first.ID, client.Connected)
	w.c.mu.Lock()
	open := w.c.sessions[first.ID].record()
	w.c.mu.Unlock()
	w.mustClose(op("ann"), first.ID)
	w.reaches(first.ID, client.Closed)
	second := w.mustOpen(op("bob"), "kiosk-1")
	w.reaches(second.ID, client.Connected)
	if err := errors.Join(w.c.store.Flush(t.Context()), w.c.store.Do(t.Context(), open.put)); err != nil {
		t.Fatal(err)
	}
	n.stop()
	w.restart()
	n.connect()
	n.follow()
	w.reaches(first.ID, client.Closed)
	if d, err := w.admin.Device(t.Context(), "kiosk-1"); err != nil || d.Session != second.ID {
		t.Errorf("the device's session is %q, %v", d.Session, err)
	}
	w.reaches(second.ID, client.Connected)
}

// members are two of a deployment: the first has the lead.
type members struct {
	a, b       *Member
	urlA, urlB string
	way        *http.Client
}

func newMembers(t *testing.T) *members {
	t.Helper()
	return newMembersThatServe(t, func(m *Member) http.Handler { return m.Handler(m) })
}

func newMembersThatServe(t *testing.T, handler func(*Member) http.Handler) *members {
	t.Helper()
	dsn, shared := postgrestest.Start(t).Database(), keys.NewMemory()
	ms := new(members)
	join := func() (*Member, string) {
		var serves atomic.Pointer[Member]
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler(serves.Load()).ServeHTTP(w, r)
		}))
		srv.EnableHTTP2 = true
		srv.StartTLS()
		ms.way = srv.Client() // the servers have one certificate
		pin := sha256.Sum256(srv.Certificate().RawSubjectPublicKeyInfo)
		m, err := Join(t.Context(), dsn, &Config{Store: shared, URL: srv.URL, URLPin: base64.RawURLEncoding.EncodeToString(pin[:])})
		if err != nil {
			t.Fatal(err)
		}
		serves.Store(m)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("run ended with %v", err)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
			srv.CloseClientConnections()
			srv.Close()
		})
		return m, srv.URL
	}
	ms.a, ms.urlA = join()
	eventually(t, "the first leads", ms.a.Leads)
	ms.b, ms.urlB = join()
	eventually(t, "the second knows", func() bool { return len(ms.b.Health(t.Context()).Reasons) == 0 })
	return ms
}

// A call is answered alike by whoever has the lead and by who has not, and headers from
// outside say nothing.
func TestCarriedCalls(t *testing.T) {
	ms := newMembers(t)
	ms.a.mu.Lock()
	decides := ms.a.c
	ms.a.mu.Unlock()
	token, err := decides.NewToken(t.Context(), User{Name: "ann", Role: Admin}, 0)
	if err != nil {
		t.Fatal(err)
	}
	api := client.New(ms.urlB, &client.Config{Token: token, HTTP: ms.way})
	key := identity(t).Key()
	if _, err := api.AddDevice(t.Context(), "kiosk-1", key); err != nil {
		t.Fatal(err)
	}
	if d, err := decides.Client(User{Name: "ann", Role: Admin}).Device(t.Context(), "kiosk-1"); err != nil || d.Key != key {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := api.Device(t.Context(), "none"); codeOf(err, "") != "not_found" {
		t.Errorf("a refusal is carried as %v", err)
	}

	call := func(url, path string, header map[string]string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range header {
			r.Header.Set(k, v)
		}
		resp, err := ms.way.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for _, tt := range []struct {
		what, url string
		header    map[string]string
		status    int
		code      string
	}{
		{"a wrong secret, where it is decided", ms.urlA, map[string]string{headerCarried: "x"}, http.StatusForbidden, `"forbidden"`},
		{"a wrong secret, elsewhere", ms.urlB, map[string]string{headerCarried: "x"}, http.StatusForbidden, `"forbidden"`},
		{"a claimed identity, where it is decided", ms.urlA, map[string]string{headerIdentity: key.String()}, http.StatusForbidden, `"unknown_node"`},
		{"a claimed identity, elsewhere", ms.urlB, map[string]string{headerIdentity: key.String()}, http.StatusForbidden, `"unknown_node"`},
		{"no identity key", ms.urlA, map[string]string{headerCarried: ms.a.secret, headerIdentity: "x"}, http.StatusBadRequest, `"malformed"`},
		{"carried to who has no lead", ms.urlB, map[string]string{headerCarried: ms.b.secret}, http.StatusServiceUnavailable, `"no_lead"`},
	} {
		if status, body := call(tt.url, pathFollow, tt.header); status != tt.status || !strings.Contains(body, tt.code) {
			t.Errorf("%s: %d %s", tt.what, status, body)
		}
	}
	for _, url := range []string{ms.urlA, ms.urlB} {
		if status, body := call(url, "/healthz", nil); status != http.StatusOK {
			t.Errorf("%d %s", status, body)
		}
	}
}

// A body beyond every limit is refused where it comes in.
func TestCarriedCallTooLarge(t *testing.T) {
	ms := newMembers(t)
	resp, err := ms.way.Post(ms.urlB+"/api/v1/devices:import", "text/csv", io.LimitReader(zeros{}, maxCarried+1))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%d", resp.StatusCode)
	}
}

// Whoever sends large bodies, and does not end them, has few of them held.
func TestFewLargeBodies(t *testing.T) {
	m := &Member{large: make(chan struct{}, 2)}
	read := func(body io.Reader) error {
		call, over := context.WithCancel(t.Context())
		defer over()
		got, err := m.readBody(httptest.NewRecorder(), httptest.NewRequestWithContext(call, http.MethodPost, "/", body))
		if err == nil && len(got) == 0 {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	var held sync.WaitGroup
	var ends []io.Closer
	for range cap(m.large) {
		in, out := io.Pipe()
		ends = append(ends, out)
		held.Go(func() {
			if err := read(in); err != nil {
				t.Error(err)
			}
		})
		if _, err := out.Write(make([]byte, smallBody)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "they are held", func() bool { return len(m.large) == cap(m.large) })
	if err := read(strings.NewReader("{}")); err != nil {
		t.Errorf("a small one waits for them: %v", err)
	}
	next := make(chan error, 1)
	go func() { next <- read(io.LimitReader(zeros{}, maxCarried)) }()
	select {
	case err := <-next:
		t.Errorf("read beside them: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	for _, end := range ends {
		end.Close()
	}
	held.Wait()
	if err := <-next; err != nil {
		t.Errorf("the next: %v", err)
	}
	eventually(t, "none is held", func() bool { return len(m.large) == 0 })
}

// Close ends a member that runs, whoever has the lead.
func TestMemberCloses(t *testing.T) {
	m, err := Join(t.Context(), postgrestest.Start(t).Database(), &Config{Store: keys.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- m.Run(context.Background()) }()
	eventually(t, "it leads", m.Leads)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("run ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it runs on")
	}
	if err := m.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("it runs again: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
