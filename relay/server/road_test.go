package server_test

import (
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/relay"
)

// Where something on the way eats the Upgrade, the same frames go by WebSocket; it is
// also how a host's own server carries a relay.
func TestRelayWebSocket(t *testing.T) {
	w := newWorld(t)
	var eaten atomic.Int64
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			eaten.Add(1)
			http.Error(rw, "what is that", http.StatusBadRequest)
			return
		}
		w.srv.ServeHTTP(rw, r)
	}))
	front.TLS = w.cfg.TLS
	front.StartTLS()
	defer front.Close()
	w.addr = front.Listener.Addr().String()
	s := w.session()
	a, b := s.pair()
	w.send(a, b, []byte("over"))
	w.send(b, a, make([]byte, 16<<10))
	if eaten.Load() != 2 {
		t.Errorf("%d upgrades were eaten", eaten.Load())
	}
	a.Close()
	b.Close()
	if r := w.last(); r.WebSockets != 2 {
		t.Errorf("%+v", r)
	}
}

// A web server that is no relay is told apart from one that refuses.
func TestRelayNone(t *testing.T) {
	w := newWorld(t)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, "sign in to the mall's network", http.StatusForbidden)
	}))
	front.TLS = w.cfg.TLS
	front.StartTLS()
	defer front.Close()
	w.addr = front.Listener.Addr().String()
	if _, err := w.session().try(0); codeOf(err) != "no_relay" {
		t.Errorf("%v", err)
	}
}

func TestRelayProxy(t *testing.T) {
	w := newWorld(t)
	p := newProxy(t, "booth", "hush hush")
	dial := func(s *session, leg int, user *url.Userinfo) (*relay.Conn, error) {
		cfg := w.config()
		cfg.Proxy = func(*http.Request) (*url.URL, error) { return &url.URL{Scheme: "http", User: user, Host: p.addr}, nil }
		return dial(w.relays(s.token(leg, 1)), s.keys[leg], cfg)
	}
	s := w.session()
	a, err := dial(s, 0, url.UserPassword("booth", "hush hush"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b := s.dial(1)
	w.paired(a)
	w.send(a, b, []byte("through"))
	if p.target.Load() != w.addr {
		t.Errorf("the proxy was asked for %v, not %s", p.target.Load(), w.addr)
	}
	_, err = dial(s, 0, url.UserPassword("booth", "hush what"))
	if codeOf(err) != "proxy" || strings.Contains(err.Error(), "hush") {
		t.Errorf("%v", err)
	}
}

// proxy speaks CONNECT, with Basic authentication.
type proxy struct {
	addr   string
	target atomic.Value
}

func newProxy(t *testing.T, user, password string) *proxy {
	p := new(proxy)
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	var tunnels sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodConnect:
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		case r.Header.Get("Proxy-Authorization") != want:
			w.Header().Set("Proxy-Authenticate", `Basic realm="shop"`)
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		p.target.Store(r.Host)
		out, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		tunnels.Add(2) // before nobody waits for this handler any more
		in, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			out.Close()
			tunnels.Add(-2)
			return
		}
		io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		for _, ends := range [][2]net.Conn{{in, out}, {out, in}} {
			go func() {
				defer tunnels.Done()
				io.Copy(ends[0], ends[1])
				ends[0].Close()
			}()
		}
	}))
	p.addr = srv.Listener.Addr().String()
	t.Cleanup(func() {
		srv.Close()
		tunnels.Wait()
	})
	return p
}

// All come back after a relay was killed, one after the other.
func TestRelayRestart(t *testing.T) {
	w := newWorld(t)
	var ends []*relay.Conn
	for range 20 {
		a, b := w.session().pair()
		ends = append(ends, a, b)
	}
	addr := w.addr
	w.cfg.Drain = time.Millisecond
	w.srv.Close() // at once, without a word
	w.stop()
	w.start(addr)
	for _, c := range ends {
		w.wait("back", func() bool { st := c.Stats(); return st.Dials >= 2 && st.Paired })
	}
	w.send(ends[0], ends[1], []byte("again"))
}

func TestRelaySteadyAllocations(t *testing.T) {
	w := newWorld(t)
	a, b := w.session().pair()
	go func() {
		bufs, sizes := make([][]byte, 128), make([]int, 128)
		for i := range bufs {
			bufs[i] = make([]byte, 2000)
		}
		for {
			if _, err := b.ReadBatch(bufs, sizes); err != nil {
				return
			}
		}
	}()
	batch := make([][]byte, 16)
	for i := range batch {
		batch[i] = make([]byte, 1300)
	}
	per := testing.AllocsPerRun(500, func() {
		a.WriteBatch(batch)
		time.Sleep(200 * time.Microsecond)
	})
	// A write of TLS and the start of its goroutine have a few, for 16 packets.
	if per > 16 {
		t.Errorf("%.1f allocations for a batch of %d packets, at both ends and the relay", per, len(batch))
	}
	t.Logf("%.1f allocations for a batch of %d packets, at both ends and the relay", per, len(batch))
}
