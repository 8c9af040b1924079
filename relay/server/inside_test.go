package server_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"testing"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/relay/server"
)

// A leg from inside the relay's process meets one that came by TLS, is revoked like
// it, and depends on nothing between: the URL's host does not exist.
func TestDial(t *testing.T) {
	w := newWorld(t)
	s := w.session()
	cfg := w.config()
	inside := false
	cfg.Near = func(ctx context.Context, key keys.PublicKey) (net.Conn, error) {
		if inside = key == w.key.Public(); !inside {
			return nil, nil
		}
		return w.srv.Dial(ctx)
	}
	cfg.Proxy = func(*http.Request) (*url.URL, error) {
		if inside {
			t.Error("asked for a proxy to what is inside")
		}
		return nil, nil
	}
	relays := w.relays(s.token(1, 1))
	relays[0].URL = "https://relay.invalid/relay"
	a := s.dial(0)
	b, err := dial(relays, s.keys[1], cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w.paired(a)
	w.paired(b)
	w.send(a, b, bytes.Repeat([]byte("a"), 1300))
	w.send(b, a, bytes.Repeat([]byte("b"), 1300))
	if st := w.srv.Stats(); st.Legs != 2 || st.Open != 0 || !inside {
		t.Errorf("%+v, inside %v", st, inside)
	}
	// What is passed on is counted right after.
	w.wait("both packets are counted", func() bool { return w.srv.Stats().Bytes >= 2*1300 })
	w.srv.Revoke(s.id)
	<-b.Done()
	<-a.Done()
	if r := w.last(); r.Code != "revoked" || r.Bytes[0] == 0 || r.Bytes[1] == 0 {
		t.Errorf("recorded %+v", r)
	}
	// It must prove its key like every other.
	thief := w.session()
	if _, err := relay.Dial(t.Context(), w.relays(thief.token(1, 1)), keys.NewPrivateKey(), cfg); err == nil {
		t.Error("a leg without its key")
	}
	// A relay that is elsewhere is reached as ever.
	w.key = keys.NewPrivateKey()
	far := w.session()
	if _, err := relay.Dial(t.Context(), w.relays(far.token(1, 1)), far.keys[1], cfg); err == nil {
		t.Error("a leg at a relay with another key")
	}
	w.stop()
	if _, err := w.srv.Dial(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// Before Serve a call waits, no longer than its context.
func TestDialBeforeServe(t *testing.T) {
	w := newWorld(t)
	srv := must(server.New("r-2", w.key, w.roots, nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := srv.Dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
