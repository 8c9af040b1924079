package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
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

// A world is a relay with a control that only signs.
type world struct {
	t      *testing.T
	signer *keys.Signer
	roots  *keys.Roots
	key    keys.PrivateKey
	ca     *testca.CA
	addr   string
	cfg    server.Config
	srv    *server.Server
	stop   func()

	mu      sync.Mutex
	records []server.Record
}

func newWorld(t *testing.T, change ...func(*server.Config)) *world {
	t.Helper()
	leak := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.None(t, leak) })
	signer, root := newSigner()
	w := &world{
		t: t, signer: signer, roots: must(keys.ParseRoots("", root.String())),
		key: keys.NewPrivateKey(), ca: testca.New(t, t.TempDir()),
	}
	cert, key := w.ca.Server("relay", []string{"127.0.0.1", "relay.test"})
	w.cfg = server.Config{
		TLS: &tls.Config{Certificates: []tls.Certificate{w.ca.Pair(cert, key)}}, Drain: time.Second,
		Ended: func(r server.Record) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.records = append(w.records, r)
		},
	}
	for _, c := range change {
		c(&w.cfg)
	}
	w.start("127.0.0.1:0")
	t.Cleanup(func() { w.stop() })
	return w
}

// newSigner is a control of a deployment of its own.
func newSigner() (*keys.Signer, keys.IdentityKey) {
	store := keys.NewMemory()
	root, online := must(keys.OpenIdentity(store, "root")), must(keys.OpenIdentity(store, "online"))
	record := must(keys.SignRecord(root, keys.Record{ID: "control-1", Key: online.Key(), Epoch: 1, Scope: []string{keys.TypeRelay, keys.TypeGrant}}))
	return must(keys.NewSigner(online, record)), root.Key()
}

func stranger() *keys.Signer {
	s, _ := newSigner()
	return s
}

// start starts the relay at addr.
func (w *world) start(addr string) {
	w.t.Helper()
	w.srv = must(server.New("r-1", w.key, w.roots, &w.cfg))
	var ln net.Listener
	w.wait("a listener at "+addr, func() (ok bool) { // which may be some connection's for a moment
		var err error
		ln, err = net.Listen("tcp", addr)
		return err == nil
	})
	w.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.srv.Serve(ctx, ln) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Serve: %v", err)
		}
	})
}

// A session is two keys and control's word about them.
type session struct {
	w    *world
	id   string
	keys [2]keys.PrivateKey
	end  time.Time
	rate keys.Rate
}

func (w *world) session() *session {
	return &session{w: w, id: keys.NewID(), keys: [2]keys.PrivateKey{keys.NewPrivateKey(), keys.NewPrivateKey()}, end: time.Now().Add(time.Hour)}
}

func (s *session) token(leg, rev int) keys.Token {
	return keys.Token{Session: s.id, Rev: rev, Leg: leg, Ends: [2]keys.PublicKey{s.keys[0].Public(), s.keys[1].Public()}, Relays: []string{"r-1"}, End: s.end, Rate: s.rate}
}

func (w *world) relays(t keys.Token) []keys.Relay {
	return []keys.Relay{{URL: "https://" + w.addr + "/relay", Key: w.key.Public(), Token: string(must(t.Sign(w.signer)))}}
}

func (w *world) config() *relay.Config {
	return &relay.Config{TLS: &tls.Config{RootCAs: w.ca.Pool()}, Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}
}

func (s *session) dial(leg int) *relay.Conn {
	s.w.t.Helper()
	c, err := s.try(leg)
	if err != nil {
		s.w.t.Fatal(err)
	}
	return c
}

func (s *session) try(leg int) (*relay.Conn, error) {
	c, err := dial(s.w.relays(s.token(leg, 1)), s.keys[leg], s.w.config())
	if err == nil {
		s.w.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// dial calls until the relay answers, whatever it says: a busy machine takes longer than
// one call does.
func dial(list []keys.Relay, key keys.PrivateKey, cfg *relay.Config) (c *relay.Conn, err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c, err = relay.Dial(context.Background(), list, key, cfg); codeOf(err) != "unreachable" {
			break
		}
	}
	return c, err
}

// pair returns both ends, each knowing of the other.
func (s *session) pair() (a, b *relay.Conn) {
	s.w.t.Helper()
	a, b = s.dial(0), s.dial(1)
	s.w.paired(a)
	s.w.paired(b)
	return a, b
}

func (w *world) paired(c *relay.Conn) {
	w.t.Helper()
	select {
	case <-c.Paired():
	case <-time.After(patience):
		w.t.Fatal("never paired")
	}
}

func (w *world) wait(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("not in %v: %s (%+v)", patience, what, w.srv.Stats())
}

// send sends p from a until b has it: a relay may lose packets.
func (w *world) send(a, b *relay.Conn, p []byte) {
	w.t.Helper()
	got := make(chan []byte, 64)
	go func() {
		buf := make([]byte, 17<<10)
		for {
			n, err := b.Read(buf)
			if err != nil {
				close(got)
				return
			}
			if bytes.Equal(buf[:n], p) {
				got <- p
				return
			}
		}
	}()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if _, err := a.Write(p); err != nil {
			w.t.Fatal(err)
		}
		select {
		case _, ok := <-got:
			if !ok {
				w.t.Fatal("the far end is over")
			}
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	w.t.Fatal("a packet never came")
}

func (w *world) last() server.Record {
	w.t.Helper()
	var r server.Record
	w.wait("a record", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := len(w.records); n > 0 {
			r = w.records[n-1]
			return true
		}
		return false
	})
	return r
}
