package server_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/relay/server"
)

// A relay in a host's own server sends its legs to the next one without Serve.
func TestDrainInHost(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.Drain = 2 * patience })
	w.stop() // the one that serves by itself
	var now atomic.Pointer[server.Server]
	first := must(server.New("r-1", w.key, w.roots, &w.cfg))
	now.Store(first)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { now.Load().ServeHTTP(rw, r) }))
	front.TLS = w.cfg.TLS
	front.StartTLS()
	defer front.Close()
	w.addr = front.Listener.Addr().String()
	a, b := w.session().pair()
	second := must(server.New("r-1", w.key, w.roots, &w.cfg))
	defer second.Close()
	now.Store(second)
	first.Drain()
	for _, c := range []*relay.Conn{a, b} {
		w.wait("a leg at the next one", func() bool { st := c.Stats(); return st.Dials == 2 && st.Paired })
	}
	w.send(a, b, []byte("moved"))
	w.wait("no leg at the first", func() bool { return first.Stats().Legs == 0 })
	now.Store(first)
	if _, err := w.session().try(0); codeOf(err) != "draining" {
		t.Errorf("a leg that comes later: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
}
