package consoletest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway"
	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/signalingtest"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/agent"
)

// patience is what a test waits for what takes milliseconds, but on a machine that stops
// processes for seconds.
const patience = time.Minute

// url is what requests inside the process name as their host.
const url = "http://control.local"

// A World lasts until the end of its test. Its Control is one, across restarts.
type World struct {
	Broker *signalingtest.Broker
	Node   *gateway.Node
	// Stopping is called at each end of control, between its Run and its Close, as
	// boothwire-control closes its console; nil: nothing is.
	Stopping func()
	// SSH and RDP are what devices that are started from now on sign: SHA-256 of a host
	// key and of a certificate.
	SSH, RDP [32]byte

	t     testing.TB
	cfg   control.Config
	dsn   string
	fleet *signaling.FleetRide
	now   atomic.Pointer[control.Control]
	stop  func()
}

// New starts a control with cfg (nil: defaults) and a node.
func New(t testing.TB, cfg *control.Config) *World {
	t.Helper()
	w := &World{t: t, Broker: signalingtest.New(), dsn: "file:" + filepath.Join(t.TempDir(), "control.db")}
	if cfg != nil {
		w.cfg = *cfg
	}
	w.cfg.Store = keys.NewMemory()
	w.fleet = w.Broker.Fleet("control")
	w.start()
	t.Cleanup(func() { w.stop() })
	w.startNode("wg-1")
	return w
}

func (w *World) start() {
	c := w.must(control.Open(context.Background(), w.dsn, &w.cfg)).(*control.Control)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	line := signalingtest.NewLine(w.fleet)
	go func() { defer close(done); c.Run(ctx, line) }()
	<-line.Read()
	w.now.Store(c)
	w.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		if w.Stopping != nil {
			w.Stopping()
		}
		if err := c.Close(); err != nil {
			w.t.Errorf("control's close: %v", err)
		}
	})
}

// Restart ends control as a planned stop does, waits for as long, and starts it again.
func (w *World) Restart(away time.Duration) {
	w.stop()
	time.Sleep(away)
	w.start()
}

// Control is the one that runs.
func (w *World) Control() *control.Control { return w.now.Load() }

// As calls the API of whichever control runs, as u.
func (w *World) As(u control.User) http.RoundTripper {
	return way(func(r *http.Request) (*http.Response, error) { return w.Control().As(u).RoundTrip(r) })
}

// Logins is of whichever control runs.
func (w *World) Logins() *control.Logins { return w.Control().Logins() }

type way func(*http.Request) (*http.Response, error)

func (f way) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Client is the API as a user calls it.
func (w *World) Client(name string, role control.Role, groups ...string) *client.Client {
	return client.New(url, &client.Config{HTTP: &http.Client{Transport: w.As(control.User{Name: name, Role: role, Groups: groups})}})
}

// Session is a session as control sees it.
func (w *World) Session(id string) client.Session {
	w.t.Helper()
	return w.must(w.admin().Session(context.Background(), id)).(client.Session)
}

func (w *World) admin() *client.Client { return w.Client("admin", control.Admin) }

// run runs f until the test's end, which waits for it.
func (w *World) run(f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
}

func (w *World) startNode(name string) {
	w.t.Helper()
	ctx := context.Background()
	claim := w.must(w.admin().ClaimNode(ctx, name)).(client.Claim)
	store := keys.NewMemory()
	id := w.must(keys.OpenIdentity(store, "way")).(*keys.Identity).Key() // by which every control knows it
	line := &http.Client{Transport: way(func(r *http.Request) (*http.Response, error) {
		return w.Control().NodeHTTP(id).Transport.RoundTrip(r)
	})}
	e := w.must(gateway.Enroll(ctx, url, store, &gateway.EnrollConfig{Claim: claim.Claim, Name: name, HTTP: line})).(*gateway.Enrolment)
	roots := w.must(e.OpenRoots(store)).(*keys.Roots)
	w.Node = w.must(gateway.Open(ctx, e.Name, roots, &gateway.Config{Store: store, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}})).(*gateway.Node)
	w.t.Cleanup(func() { w.Node.Close() })
	w.run(func(ctx context.Context) { w.Node.Follow(ctx, url, &gateway.FollowConfig{HTTP: line}) })
	w.NodeBack(name)
}

// NodeBack waits until control hears the node.
func (w *World) NodeBack(name string) {
	w.t.Helper()
	w.Wait("the node", func() bool {
		for n := range w.admin().Nodes(context.Background()) {
			if n.Name == name {
				return n.State == "connected" && len(n.Endpoints) > 0
			}
		}
		return false
	})
}

// Device registers and starts a device of a group, driverless. Services are what answers
// its ports; cfg (nil: defaults) is the rest. It is known to control when Device returns.
func (w *World) Device(id, group string, services map[keys.Port]string, cfg *agent.Config) *agent.Agent {
	w.t.Helper()
	d := w.must(keys.OpenDevice(id, keys.NewMemory(), keys.Trust{Roots: w.Control().Roots()})).(*keys.Device)
	d.Fingerprints(w.SSH, w.RDP)
	w.must(w.admin().PutDevice(context.Background(), id, &client.DeviceRequest{Key: d.Key(), Group: group}))
	var c agent.Config
	if cfg != nil {
		c = *cfg
	}
	c.Mode, c.Services = tunnel.Driverless, services
	a := w.must(agent.New(d, w.Broker.Device(id), &c)).(*agent.Agent)
	w.run(func(ctx context.Context) { a.Run(ctx) })
	w.Wait("the device "+id, func() bool {
		d, err := w.admin().Device(context.Background(), id)
		return err == nil && d.Prekeys > 0
	})
	return a
}

// Serve answers at a loopback address until the test's end, which waits for serve.
func (w *World) Serve(serve func(net.Conn)) string {
	w.t.Helper()
	ln := w.must(net.Listen("tcp", "127.0.0.1:0")).(net.Listener)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				work.Go(func() { defer c.Close(); serve(c) })
			}
		}
	})
	w.t.Cleanup(func() { ln.Close(); work.Wait() })
	return ln.Addr().String()
}

// Wait fails the test unless f holds soon.
func (w *World) Wait(what string, f func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

func (w *World) must(v any, err error) any {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}
