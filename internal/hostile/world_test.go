package hostile

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/boothwire/boothwire/gateway"
	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/signalingtest"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/agent"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// TestMain lets more tests run at once than there are cores: they mostly wait.
func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "8")
	leaktest.Main(m)
}

const (
	// patience is what a test waits for what takes milliseconds.
	patience = 60 * time.Second
	nodeName = "wg-1"
	version  = "kiosk 4.2"
	victim   = "kiosk-1"
	other    = "kiosk-2"
)

// medium is what carries messages between control and devices, and may be told to
// do as the enemy says.
type medium interface {
	listener(d *keys.Device) signaling.Listener
	sender() signaling.Sender
	// intercept has f say what is delivered in a message's place to whom.
	intercept(f func(to string, p signalingtest.Packet) []signalingtest.Packet)
	// inject delivers a message that nobody sent, and that f is not asked about.
	inject(p signalingtest.Packet)
}

// world is a fleet of two kiosks on real parts in one process.
type world struct {
	t      *testing.T
	medium medium
	ctl    *control.Control
	store  keys.Store // control's signing keys
	admin  *client.Client
	node   *gateway.Node
	line   *nodeLine
	kiosks map[string]*kiosk
	trap   *trap
	clock  atomic.Int64 // by how far control's clock is ahead

	nodeLogs, ctlLogs *observer.ObservedLogs

	mu              sync.Mutex
	over            string          // a session that is
	spent           keys.PublicKey  // its prekey
	former, unheard *keys.Device    // the victim\'s run before this one
	opened          map[string]bool // sessions that engineers asked for
}

// config is what tests decide about a world.
type config struct {
	medium func(t *testing.T) medium
	prove  time.Duration
	trust  keys.Trust // beside roots
}

func newWorld(t *testing.T, c config) *world {
	t.Helper()
	w := &world{t: t, store: keys.NewMemory(), kiosks: make(map[string]*kiosk), opened: make(map[string]bool), trap: newTrap(t)}
	if c.medium == nil {
		c.medium = newMemory
	}
	w.medium = c.medium(t)
	var core zapcore.Core
	core, w.ctlLogs = observer.New(zap.InfoLevel)
	w.ctl = must(control.Open(t.Context(), "file:"+filepath.Join(t.TempDir(), "control.db"), &control.Config{
		Store: w.store, Logger: zap.New(core), Now: func() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) },
	}))
	w.admin = w.ctl.Client(control.User{Name: "admin", Role: control.Admin})
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { _ = w.ctl.Run(ctx, w.medium.sender()) })
	t.Cleanup(func() {
		cancel()
		work.Wait()
		if err := w.ctl.Close(); err != nil {
			t.Error(err)
		}
	})
	w.startNode(ctx, &work)
	for _, id := range []string{victim, other} {
		w.startKiosk(id, c)
	}
	for id, k := range w.kiosks {
		w.eventually("control knows "+id, func() bool {
			d, err := w.admin.Device(t.Context(), id)
			return err == nil && d.Prekeys > 0 && d.Boot == k.device.Boot() && d.State == signaling.Disconnected
		})
	}
	return w
}

func (w *world) startNode(ctx context.Context, work *sync.WaitGroup) {
	w.t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	w.nodeLogs = logs
	store := keys.NewMemory()
	identity := must(keys.OpenIdentity(store, "identity"))
	w.line = &nodeLine{RoundTripper: w.ctl.NodeHTTP(identity.Key()).Transport}
	way := &http.Client{Transport: w.line}
	claim := must(w.admin.ClaimNode(w.t.Context(), nodeName))
	e := must(gateway.Enroll(w.t.Context(), "http://control.local", store, &gateway.EnrollConfig{Claim: claim.Claim, Name: nodeName, HTTP: way}))
	w.node = must(gateway.Open(w.t.Context(), nodeName, must(e.OpenRoots(store)), &gateway.Config{
		Store: store, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Logger: zap.New(core),
	}))
	w.t.Cleanup(func() { w.node.Close() })
	work.Go(func() {
		_ = w.node.Follow(ctx, "http://control.local", &gateway.FollowConfig{HTTP: way})
	})
	w.eventually("the node", func() bool {
		for n := range w.admin.Nodes(w.t.Context()) {
			return n.State == "connected" && len(n.Endpoints) == 1
		}
		return false
	})
}

// kiosk is one device with one service.
type kiosk struct {
	device   *keys.Device
	store    keys.Store
	agent    *agent.Agent
	tap      *tap
	logs     *observer.ObservedLogs
	accepted atomic.Int32 // connections at its service
	stop     func()       // ends the agent, who says goodbye
}

func (w *world) startKiosk(id string, c config) { w.startKioskFrom(id, c, keys.NewMemory()) }

// startKioskFrom starts one whose identity is in store.
func (w *world) startKioskFrom(id string, c config, store keys.Store) {
	w.t.Helper()
	k := &kiosk{store: store}
	c.trust.Roots = w.ctl.Roots()
	k.device = must(keys.OpenDevice(id, k.store, c.trust))
	service := must(net.Listen("tcp", "127.0.0.1:0"))
	go func() {
		for {
			conn, err := service.Accept()
			if err != nil {
				return
			}
			k.accepted.Add(1)
			go func() { io.Copy(conn, conn); conn.Close() }()
		}
	}()
	must(w.admin.AddDevice(w.t.Context(), id, k.device.Key()))
	core, logs := observer.New(zap.InfoLevel)
	k.logs = logs
	k.tap = &tap{Listener: w.medium.listener(k.device)}
	k.agent = must(agent.New(k.device, k.tap, &agent.Config{
		Mode: tunnel.Driverless, Services: map[keys.Port]string{keys.TCP(22): service.Addr().String()},
		Version: version, Logger: zap.New(core), Prove: c.prove,
		Preflight: -1, // it would connect to the service, at which connections are counted
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.agent.Run(ctx) }()
	k.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("%s: %v", id, err)
		}
		service.Close()
	})
	w.t.Cleanup(k.stop)
	w.kiosks[id] = k
}

// tap writes down what a device signs, before any broker has it.
type tap struct {
	signaling.Listener

	mu     sync.Mutex
	said   map[signaling.State]bool
	latest signaling.State
	all    [][]byte // whole messages
}

func (l *tap) Publish(status []byte, retain bool) {
	l.mu.Lock()
	if l.said == nil {
		l.said = make(map[signaling.State]bool)
	}
	if out, err := signaling.ParseStatus(status); err == nil && len(out.Token) > 0 {
		if in, err := signaling.ParseStatus(payloadOf(out.Token)); err == nil {
			l.said[in.VPN] = true
			if in.Count == 0 {
				l.latest = in.VPN
			}
		}
	}
	l.all = append(l.all, append([]byte(nil), status...))
	l.mu.Unlock()
	l.Listener.Publish(status, retain)
}

func (l *tap) signed(s signaling.State) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said[s]
}

func (l *tap) last() signaling.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest
}

// messages are all that the device published.
func (l *tap) messages() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([][]byte(nil), l.all...)
}

// trap is a far end to which the enemy would like to redirect: nothing may come.
type trap struct {
	addr netip.AddrPort
	got  atomic.Int32
}

func newTrap(t *testing.T) *trap {
	pc := must(net.ListenPacket("udp", "127.0.0.1:0"))
	p := &trap{addr: netip.MustParseAddrPort(pc.LocalAddr().String())}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := make([]byte, 2048); ; {
			if _, _, err := pc.ReadFrom(b); err != nil {
				return
			}
			p.got.Add(1)
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return p
}

func must[T any](v T, err error) T {
	if err != nil {
		_, file, line, _ := runtime.Caller(1)
		panic(fmt.Sprintf("%s:%d: %v", filepath.Base(file), line, err))
	}
	return v
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("not in %v: %s\n%s", patience, what, w.describe())
}

func (w *world) describe() (s string) {
	for id, k := range w.kiosks {
		d, err := w.admin.Device(context.Background(), id)
		st := k.agent.Status()
		s += fmt.Sprintf("%s: agent %s %q ladder %v; control %+v %v\n", id, st.State, st.Session.ID, st.Ladder, d, err)
	}
	for v := range w.admin.Sessions(context.Background(), client.Filter{}) {
		s += fmt.Sprintf("session %s of %s: %s %s %s %v\n", v.ID, v.Device, v.State, v.Code, v.Why, v.Ladder)
	}
	for id, k := range w.kiosks {
		for _, e := range k.logs.FilterMessage("command refused").All() {
			s += fmt.Sprintf("%s refused: %v\n", id, e.ContextMap())
		}
	}
	for _, r := range w.refusals() {
		s += fmt.Sprintf("audit: %s %s %s %d\n", r.What, r.Device, r.Code, r.Count)
	}
	return s + fmt.Sprintf("node: %+v", w.node.Sessions())
}

// open asks for a session as an engineer does.
func (w *world) open(id string) (*operator.Session, error) {
	s, err := operator.Open(w.t.Context(), w.ctl.Client(control.User{Name: "ann", Role: control.Operator}), id, nil)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.opened[s.ID()] = true
	w.mu.Unlock()
	w.t.Cleanup(func() { s.Close() })
	return s, nil
}

// wire is an engineer's open connection through the tunnel.
type wire struct {
	s    *operator.Session
	conn net.Conn
}

// connect opens a session and a connection in it, within d.
func (w *world) connect(id string, d time.Duration) (*wire, error) {
	s, err := w.open(id)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	defer cancel()
	conn, err := s.Dial(ctx, "tcp", ":22")
	if err != nil {
		s.Close()
		return nil, err
	}
	return &wire{s, conn}, nil
}

// echo sends a word and waits for it.
func (c *wire) echo() error {
	c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.conn, "hello"); err != nil {
		return err
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c.conn, b); err != nil {
		return err
	}
	if string(b) != "hello" {
		return errors.New("another word came back")
	}
	return nil
}

func (c *wire) close() {
	c.conn.Close()
	c.s.Close()
}

// works opens a session, uses it and closes it, as on any day.
func (w *world) works(id string) {
	w.t.Helper()
	k := w.kiosks[id]
	before := k.accepted.Load()
	c, err := w.connect(id, patience)
	if err != nil {
		w.t.Fatalf("the next session: %v\n%s", err, w.describe())
	}
	if err := c.echo(); err != nil {
		w.t.Errorf("the next session: %v", err)
	}
	if got := k.accepted.Load(); got != before+1 {
		w.t.Errorf("%d connections at the service of %s, want %d", got, id, before+1)
	}
	c.close()
	w.idle(id)
}

// idle waits until nothing is open and everybody knows.
func (w *world) idle(id string) {
	w.t.Helper()
	k := w.kiosks[id]
	w.eventually(id+" is idle", func() bool {
		d, err := w.admin.Device(w.t.Context(), id)
		return err == nil && d.Session == "" && d.State == k.tap.last() &&
			k.agent.Status().Session.ID == "" && len(w.sessionsOf(id)) == 0
	})
}

// sessionsOf are the node's.
func (w *world) sessionsOf(id string) (list []gateway.Session) {
	for _, s := range w.node.Sessions() {
		if s.Device == id {
			list = append(list, s)
		}
	}
	return list
}
