package control

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"github.com/boothwire/boothwire/gateway/control/internal/store"
)

// liveRooms are what a console has: uploads, streams, and connections of another protocol.
func liveRooms(more <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /live/file", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		fmt.Fprintf(w, "%d %x %v", n, sum.Sum(nil), err)
	})
	mux.HandleFunc("GET /live/events", func(w http.ResponseWriter, r *http.Request) {
		for n := range 3 {
			fmt.Fprintf(w, "data: %d\n", n)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-more:
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("GET /live/from", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.RemoteAddr, " ", r.Host, " ", r.Header.Get(headerFrom), r.Header.Get(headerCarried), r.Header.Get("Forwarded"), r.Header.Get("X-Forwarded-For"))
	})
	mux.HandleFunc("GET /live/echo", func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, buf)
	})
	return mux
}

// Below a live path bodies of any size, streams and upgrades come to who has the lead by
// whichever member, and he knows where they come from.
func TestCarriedLive(t *testing.T) {
	more := make(chan struct{})
	rooms := liveRooms(more)
	ms := newMembersThatServe(t, func(m *Member) http.Handler { return m.Handler(rooms, "/live/") })
	for _, url := range []string{ms.urlA, ms.urlB} {
		const size = maxCarried*2 + 7
		res := ms.do(t, http.MethodPut, url+"/live/file", io.LimitReader(zeros{}, size), nil)
		if want := fmt.Sprintf("%d %x <nil>", size, sha256.Sum256(make([]byte, size))); res != want {
			t.Errorf("an upload arrived as %s, want %s", res, want)
		}
		ms.streams(t, url, more)
		ms.echoes(t, url)

		var own string
		trace := &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { own = c.Conn.LocalAddr().String() }}
		ctx := httptrace.WithClientTrace(t.Context(), trace)
		res = ms.do(t, http.MethodGet, url+"/live/from", nil, map[string]string{headerFrom: "127.0.0.1:1"}, ctx)
		if want := own + " " + strings.TrimPrefix(url, "https://") + " "; res != want {
			t.Errorf("a call comes from %q, want %q", res, want)
		}
		res = ms.do(t, http.MethodGet, url+"/live/from", nil, map[string]string{"Forwarded": "for=192.0.2.1", "X-Forwarded-For": "192.0.2.1"}, ctx)
		if want := own + " " + strings.TrimPrefix(url, "https://") + " for=192.0.2.1192.0.2.1"; res != want {
			t.Errorf("a call that a proxy passed on comes from %q, want %q", res, want)
		}
	}
}

func (ms *members) do(t *testing.T, method, url string, body io.Reader, header map[string]string, ctx ...context.Context) string {
	t.Helper()
	r, err := http.NewRequestWithContext(append(ctx, t.Context())[0], method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	res, err := ms.way.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%s %s: %d, %v", method, url, res.StatusCode, err)
	}
	return string(text)
}

// streams sees that each event comes before the next is made.
func (ms *members) streams(t *testing.T, url string, more chan<- struct{}) {
	t.Helper()
	res, err := ms.way.Get(url + "/live/events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for n := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", n) {
			t.Fatalf("event %d is %q", n, lines.Text())
		}
		more <- struct{}{}
	}
	if lines.Scan() {
		t.Errorf("after the end: %q", lines.Text())
	}
}

// echoes speaks another protocol after an upgrade.
func (ms *members) echoes(t *testing.T, url string) {
	t.Helper()
	cfg := ms.way.Transport.(*http.Transport).TLSClientConfig.Clone()
	cfg.NextProtos = []string{"http/1.1"} // as a browser asks for a WebSocket
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /live/echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	for _, text := range []string{"hello", "world"} {
		fmt.Fprintln(conn, text)
		if got, err := in.ReadString('\n'); err != nil || got != text+"\n" {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// A call that did not get to the other member can be sent again; one of which it read
// something cannot.
func TestLiveUnsent(t *testing.T) {
	m := &Member{way: newCarrier(), log: zap.NewNop()}
	defer m.way.close()
	down := httptest.NewServer(nil)
	down.Close()
	breaks := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, 1))
		panic(http.ErrAbortHandler)
	}))
	defer breaks.Close()
	gone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { refuseNoLead(w, "passed on") }))
	defer gone.Close()
	for _, tt := range []struct {
		what, url, body string
		again           bool
	}{
		{"nobody listens", down.URL, "file", true},
		{"no URL", "nonsense", "file", true},
		{"no longer the lead, nothing to send", gone.URL, "", true},
		{"broke off in the middle", breaks.URL, "file", false},
	} {
		r := httptest.NewRequest(http.MethodPut, "/live/file", strings.NewReader(tt.body))
		if tt.body == "" {
			r = httptest.NewRequest(http.MethodGet, "/live/file", nil)
		}
		rec := httptest.NewRecorder()
		call, err := m.liveParcel(rec, r)
		if err != nil {
			t.Fatal(err)
		}
		err = call.pass(rec, r, &other{Lead: store.Lead{URL: tt.url}, ctx: t.Context()})
		if errors.As(err, new(unsent)) != tt.again || err == nil {
			t.Errorf("%s: %v", tt.what, err)
		}
		if call.rewind(r); tt.again {
			if text, err := io.ReadAll(r.Body); err != nil || string(text) != tt.body {
				t.Errorf("%s: what is left of the body is %q, %v", tt.what, text, err)
			}
		}
	}
}

// severed is a connection that breaks before the next byte, without telling.
type severed struct {
	net.Conn
	now *atomic.Bool
}

func (s severed) Write(b []byte) (int, error) {
	if s.now.Load() {
		return 0, syscall.EPIPE
	}
	return s.Conn.Write(b)
}

// A call whose connection turns out to be closed goes by another: nothing was sent.
func TestCarriedByANewConnection(t *testing.T) {
	got := make(chan string, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		got <- string(text)
	}))
	defer srv.Close()
	c := newCarrier()
	defer c.close()
	var breaks atomic.Bool
	dial := c.http.DialContext
	c.http.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return severed{conn, &breaks}, err
	}
	for _, body := range []string{"first", "second"} {
		rec := httptest.NewRecorder()
		if err := c.carry(rec, httptest.NewRequest(http.MethodPost, "/", nil), []byte(body), &other{Lead: store.Lead{URL: srv.URL}, ctx: t.Context()}, "s"); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if text := <-got; text != body {
			t.Errorf("%q came as %q", body, text)
		}
		breaks.Store(true)
		c.http.DialContext = dial
	}
}
