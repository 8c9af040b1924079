package operator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway"
	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling/signalingtest"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/agent"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is what a test waits for what takes milliseconds.
const patience = 30 * time.Second

// A world is a control, a node and a device with a service, all real, on a broker
// in memory.
type world struct {
	t       *testing.T
	broker  *signalingtest.Broker
	control *control.Control
	node    *gateway.Node
	agent   *agent.Agent
	service net.Listener
}

const device = "kiosk-1"

func newWorld(t *testing.T, cfg agent.Config, serve func(net.Conn)) *world {
	t.Helper()
	return newWorldWith(t, new(control.Config), cfg, serve)
}

func newWorldWith(t *testing.T, c *control.Config, cfg agent.Config, serve func(net.Conn)) *world {
	t.Helper()
	w := &world{t: t, broker: signalingtest.New()}
	c.Store = keys.NewMemory()
	w.control = must(control.Open(t.Context(), "file:"+filepath.Join(t.TempDir(), "control.db"), c))
	t.Cleanup(func() { w.control.Close() })
	fleet := w.broker.Fleet("control")
	w.run(func(ctx context.Context) { w.control.Run(ctx, fleet) })
	w.startNode()
	w.startDevice(cfg, serve)
	return w
}

// run runs f until the test's end, which waits for it.
func (w *world) run(f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
}

func (w *world) startNode() { w.node = w.anotherNode("wg-1") }

// anotherNode starts a node, and returns it when control has it.
func (w *world) anotherNode(name string) *gateway.Node {
	admin := w.as("admin", control.Admin)
	claim := must(admin.ClaimNode(w.t.Context(), name))
	store, way := keys.NewMemory(), w.control.HTTP()
	e := must(gateway.Enroll(w.t.Context(), "http://control.local", store, &gateway.EnrollConfig{Claim: claim.Claim, Name: name, HTTP: way}))
	roots := must(e.OpenRoots(store))
	node := must(gateway.Open(w.t.Context(), e.Name, roots, &gateway.Config{Store: store, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}))
	w.t.Cleanup(func() { node.Close() })
	w.run(func(ctx context.Context) {
		node.Follow(ctx, "http://control.local", &gateway.FollowConfig{HTTP: way})
	})
	w.wait("the node", func() bool {
		for n := range admin.Nodes(w.t.Context()) {
			if n.Name == name {
				return n.State == "connected" && len(n.Endpoints) > 0
			}
		}
		return false
	})
	return node
}

func (w *world) startDevice(cfg agent.Config, serve func(net.Conn)) {
	w.service = must(net.Listen("tcp", "127.0.0.1:0"))
	w.t.Cleanup(func() { w.service.Close() })
	go accept(w.service, serve)
	d := must(keys.OpenDevice(device, keys.NewMemory(), keys.Trust{Roots: w.control.Roots()}))
	admin := w.as("admin", control.Admin)
	must(admin.AddDevice(w.t.Context(), device, d.Key()))
	cfg.Mode = tunnel.Driverless
	cfg.Services = map[keys.Port]string{keys.TCP(22): w.service.Addr().String()}
	w.agent = must(agent.New(d, w.broker.Device(device), &cfg))
	w.run(func(ctx context.Context) { w.agent.Run(ctx) })
	w.wait("the device", func() bool {
		d, err := admin.Device(w.t.Context(), device)
		return err == nil && d.Prekeys > 0
	})
}

// as is the API as a user calls it.
func (w *world) as(name string, role control.Role) *client.Client {
	return w.control.Client(control.User{Name: name, Role: role})
}

// state is the session as control sees it.
func (w *world) state(id string) client.Session {
	w.t.Helper()
	return must(w.as("admin", control.Admin).Session(w.t.Context(), id))
}

func (w *world) wait(what string, f func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func accept(ln net.Listener, serve func(net.Conn)) {
	var work sync.WaitGroup
	defer work.Wait()
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		work.Go(func() { defer c.Close(); serve(c) })
	}
}

// echo answers with all that it got once the other side has said all: only a
// half-close that is carried across brings the answer.
func echo(c net.Conn) {
	all, err := io.ReadAll(c)
	if err == nil {
		c.Write(all)
	}
}

// A spy fails the calls that fail says.
type spy struct {
	http.RoundTripper
	fail func(*http.Request) error
}

func (s spy) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := s.fail(r); err != nil {
		return nil, err
	}
	return s.RoundTripper.RoundTrip(r)
}

// A liar changes what is asked when a session is opened, and what is answered.
type liar[Q, A any] struct {
	http.RoundTripper
	request func(*Q)
	answer  func(*A)
}

func (l liar[Q, A]) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost {
		return l.RoundTripper.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = change(r.Body, l.request)
	res, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body, res.ContentLength = change(res.Body, l.answer)
	}
	return res, err
}

func change[T any](body io.ReadCloser, f func(*T)) (io.ReadCloser, int64) {
	defer body.Close()
	var v T
	text := must(io.ReadAll(body))
	if f != nil && json.Unmarshal(text, &v) == nil {
		f(&v)
		text = must(json.Marshal(v))
	}
	return io.NopCloser(bytes.NewReader(text)), int64(len(text))
}
