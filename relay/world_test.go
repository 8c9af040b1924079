package relay_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/internal/testca"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/relay/server"
)

const patience = 20 * time.Second

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*relay.Error](err); ok {
		return e.Code()
	}
	return fmt.Sprint(err)
}

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

// world is a session and some relays that may carry it.
type world struct {
	t       *testing.T
	signer  *keys.Signer
	roots   *keys.Roots
	ca      *testca.CA
	relays  []*one
	session string
	keys    [2]keys.PrivateKey
}

// one is a relay that can be stopped and started at its address.
type one struct {
	w    *world
	name string
	key  keys.PrivateKey
	addr string
	tls  *tls.Config
	srv  *server.Server

	drain time.Duration
	stop  func() // drains
}

func newWorld(t *testing.T, relays int) *world {
	t.Helper()
	leak := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.None(t, leak) })
	store := keys.NewMemory()
	root, online := must(keys.OpenIdentity(store, "root")), must(keys.OpenIdentity(store, "online"))
	record := must(keys.SignRecord(root, keys.Record{ID: "control-1", Key: online.Key(), Epoch: 1, Scope: []string{keys.TypeRelay}}))
	w := &world{
		t: t, signer: must(keys.NewSigner(online, record)), roots: must(keys.ParseRoots("", root.Key().String())),
		ca: testca.New(t, t.TempDir()), session: keys.NewID(), keys: [2]keys.PrivateKey{keys.NewPrivateKey(), keys.NewPrivateKey()},
	}
	for i := range relays {
		cert, key := w.ca.Server(fmt.Sprint("relay", i), []string{"127.0.0.1"})
		r := &one{w: w, name: fmt.Sprint("r-", i), key: keys.NewPrivateKey(), addr: "127.0.0.1:0", drain: 2 * time.Second}
		r.tls = &tls.Config{Certificates: []tls.Certificate{w.ca.Pair(cert, key)}}
		r.start()
		w.relays = append(w.relays, r)
		t.Cleanup(func() { r.stop() })
	}
	return w
}

func (r *one) start() {
	r.w.t.Helper()
	r.srv = must(server.New(r.name, r.key, r.w.roots, &server.Config{TLS: r.tls, Drain: r.drain}))
	var ln net.Listener
	r.w.wait("a listener at "+r.addr, func() (ok bool) { // which may be some connection's for a moment
		var err error
		ln, err = net.Listen("tcp", r.addr)
		return err == nil
	})
	r.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	srv := r.srv
	go func() { done <- srv.Serve(ctx, ln) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.w.t.Errorf("Serve: %v", err)
		}
	})
}

// token is control's for one end at all relays, with a change of what it says.
func (w *world) token(leg int, change func(*keys.Token)) string {
	t := keys.Token{Session: w.session, Rev: 1, Leg: leg, Ends: [2]keys.PublicKey{w.keys[0].Public(), w.keys[1].Public()}, End: time.Now().Add(time.Hour)}
	for _, r := range w.relays {
		t.Relays = append(t.Relays, r.name)
	}
	if change != nil {
		change(&t)
	}
	return string(must(t.Sign(w.signer)))
}

// list is what a grant tells one end.
func (w *world) list(leg int) (list []keys.Relay) {
	token := w.token(leg, nil)
	for _, r := range w.relays {
		list = append(list, keys.Relay{URL: "https://" + r.addr + "/relay", Key: r.key.Public(), Token: token})
	}
	return list
}

func (w *world) config() *relay.Config {
	return &relay.Config{TLS: &tls.Config{RootCAs: w.ca.Pool()}, Proxy: noProxy}
}

func (w *world) dial(leg int) *relay.Conn {
	w.t.Helper()
	c, err := dial(w.list(leg), w.keys[leg], w.config())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// dial calls until a relay answers, whatever it says: a busy machine takes longer than
// one call does.
func dial(list []keys.Relay, key keys.PrivateKey, cfg *relay.Config) (c *relay.Conn, err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c, err = relay.Dial(context.Background(), list, key, cfg); codeOf(err) != "unreachable" {
			break
		}
	}
	return c, err
}

// pair is both ends, paired.
func (w *world) pair() (a, b *relay.Conn) {
	w.t.Helper()
	a, b = w.dial(0), w.dial(1)
	for _, c := range []*relay.Conn{a, b} {
		w.wait("a pair", func() bool { return c.Stats().Paired })
	}
	return a, b
}

func (w *world) wait(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("not in %v: %s", patience, what)
}
