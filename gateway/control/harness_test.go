package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/signaling/signalingtest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is what a test waits for what takes milliseconds, but on a machine that stops
// processes for seconds.
const patience = time.Minute

// world is a control with a broker, to which devices and nodes come.
type world struct {
	t      testing.TB
	dsn    string
	cfg    Config
	broker *signalingtest.Broker
	ride   *signaling.FleetRide
	c      *Control
	fleet  signaling.Sender // the ride, as this control has it
	stop   func()
	admin  *client.Client
}

func newWorld(t testing.TB, cfg *Config) *world {
	t.Helper()
	return newWorldOn(t, filepath.Join(t.TempDir(), "control.db"), cfg)
}

func newWorldOn(t testing.TB, dsn string, cfg *Config) *world {
	t.Helper()
	w := &world{t: t, dsn: dsn, broker: signalingtest.New()}
	if cfg != nil {
		w.cfg = *cfg
	}
	if w.cfg.Store == nil {
		w.cfg.Store = keys.NewMemory()
	}
	w.ride = w.broker.Fleet("control")
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) start() {
	w.t.Helper()
	w.begin(w.openControl(), w.ride)
}

// openControl opens a control on the world's database.
func (w *world) openControl() *Control {
	w.t.Helper()
	c, err := Open(w.t.Context(), w.dsn, &w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// begin makes c the world's, and returns when it listens on its lines; the broker's is
// the last.
func (w *world) begin(c *Control, senders ...signaling.Sender) {
	w.t.Helper()
	var lines []signaling.Sender
	for _, s := range senders {
		lines = append(lines, signalingtest.NewLine(s))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, lines...) }()
	for _, l := range lines {
		select {
		case <-l.(*signalingtest.Line).Read():
		case err := <-done:
			w.t.Fatal(err)
		}
	}
	w.fleet = lines[len(lines)-1]
	w.c, w.admin = c, c.Client(User{Name: "admin", Role: Admin})
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
			w.t.Errorf("run ended with %v", err)
		}
		if err := c.Close(); err != nil {
			w.t.Errorf("close: %v", err)
		}
	})
}

// restart stops control and opens it again from its database.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

// stopped is a clock that only a test moves.
type stopped struct{ at atomic.Pointer[time.Time] }

func newStopped() *stopped {
	c := &stopped{}
	now := time.Now()
	c.at.Store(&now)
	return c
}

func (c *stopped) now() time.Time { return *c.at.Load() }

func (c *stopped) move(by time.Duration) {
	now := c.now().Add(by)
	c.at.Store(&now)
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if f() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// booth is a device: the real keys and signalling, and a handler that plays a
// tunnel.
type booth struct {
	w      *world
	store  keys.Store
	keys   *keys.Device
	ride   *signaling.Ride
	cfg    signaling.Config
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	grants []*keys.Grant
	fail   error // what the handler returns instead of serving
	proved func(*keys.Grant)
	bare   bool
	offers func(context.Context, *signaling.Session) // beside the session, if not nil
}

func (w *world) booth(id string, register bool) *booth {
	w.t.Helper()
	b := &booth{w: w, store: keys.NewMemory()}
	b.boot(id)
	if register {
		if _, err := w.admin.AddDevice(w.t.Context(), id, b.keys.Key()); err != nil {
			w.t.Fatal(err)
		}
	}
	w.t.Cleanup(func() {
		if b.cancel != nil {
			b.cancel()
			<-b.done
		}
	})
	return b
}

func (b *booth) boot(id string) {
	b.w.t.Helper()
	d, err := keys.OpenDevice(id, b.store, keys.Trust{Roots: b.w.c.Roots(), Issuer: b.w.cfg.Issuer})
	if err != nil {
		b.w.t.Fatal(err)
	}
	b.keys = d
}

// serve connects the device, with Serve in a goroutine.
func (b *booth) serve() *booth {
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.done = cancel, make(chan struct{})
	b.ride = b.w.broker.Device(b.keys.ID())
	go func() {
		defer close(b.done)
		if err := signaling.Serve(ctx, b.ride, b.keys, b.session, &b.cfg); err != nil {
			b.w.t.Errorf("serve: %v", err)
		}
	}()
	return b
}

// kill ends the device without a word, as a power cut does.
func (b *booth) kill() {
	b.w.broker.Online(b.keys.ID(), false)
	b.cancel()
	<-b.done
	b.cancel = nil
}

func (b *booth) session(ctx context.Context, s *signaling.Session) error {
	token := s.Grant
	if token == nil {
		var err error
		if token, err = s.Request(ctx); err != nil {
			return err
		}
	}
	b.mu.Lock()
	fail, offers := b.fail, b.offers
	b.mu.Unlock()
	if fail != nil {
		return fail
	}
	if err := b.take(token); err != nil {
		return err
	}
	for _, st := range []signaling.Stage{signaling.Keyed, signaling.Socket, signaling.Handshake, signaling.Proved, signaling.Ready} {
		s.Reach(st)
	}
	if offers != nil {
		go offers(ctx, s)
	}
	go func() {
		for token := range s.Grants(ctx) {
			_ = b.take(token)
		}
	}()
	<-ctx.Done()
	return nil
}

func (b *booth) take(token []byte) error {
	g, _, err := b.keys.Accept(token)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.grants = append(b.grants, g)
	proved := b.proved
	b.mu.Unlock()
	if proved != nil {
		proved(g)
	}
	return nil
}

func (b *booth) last() *keys.Grant {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.grants) == 0 {
		return nil
	}
	return b.grants[len(b.grants)-1]
}

// known waits until control has the device's prekeys.
func (b *booth) known() *booth {
	b.w.t.Helper()
	eventually(b.w.t, "prekeys of "+b.keys.ID(), func() bool {
		d, err := b.w.admin.Device(b.w.t.Context(), b.keys.ID())
		return err == nil && d.Prekeys > 0 && d.Boot == b.keys.Boot()
	})
	return b
}

// fakeNode speaks a node's part over the in-process way.
type fakeNode struct {
	w     *world
	name  string
	id    *keys.Identity
	key   keys.PrivateKey
	roots *keys.Roots
	stop  func()

	mu     sync.Mutex
	http   *http.Client
	held   map[string]int // session -> rev
	fresh  bool           // the tunnels of what it holds began anew
	refuse string         // code with which grants are refused
	mute   bool           // installs, and says nothing
	lines  []nodeLine
	seq    uint64

	deleted bool // control may refuse it
}

func (n *fakeNode) isDeleted() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.deleted
}

func (w *world) node(name string) *fakeNode {
	w.t.Helper()
	n := &fakeNode{w: w, name: name, id: identity(w.t), key: keys.NewPrivateKey(), held: make(map[string]int)}
	n.connect()
	var out enrolAnswer
	if code := n.post(pathEnroll, enrolRequest{
		Claim: w.claim(name), Name: name, Key: n.key.Public(), Version: "test",
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:51820")},
	}, &out); code != http.StatusOK {
		w.t.Fatalf("enrol: %d", code)
	}
	var err error
	if n.roots, err = keys.ParseRoots(out.Issuer, out.Roots...); err != nil {
		w.t.Fatal(err)
	}
	n.follow()
	w.t.Cleanup(func() { n.stop() })
	return n
}

// claim is what a node may enrol with.
func (w *world) claim(name string) string {
	w.t.Helper()
	c, err := w.admin.ClaimNode(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Claim
}

// connect takes the way to the control that runs now.
func (n *fakeNode) connect() {
	way := n.w.c.NodeHTTP(n.id.Key())
	n.mu.Lock()
	defer n.mu.Unlock()
	n.http = way
}

func (n *fakeNode) way() *http.Client {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.http
}

func (n *fakeNode) post(path string, in, out any) int {
	body, err := json.Marshal(in)
	if err != nil {
		n.w.t.Fatal(err)
	}
	r, err := n.way().Post(localURL+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return 0
	}
	defer r.Body.Close()
	if out != nil && r.StatusCode == http.StatusOK {
		if err := json.NewDecoder(r.Body).Decode(out); err != nil {
			n.w.t.Error(err)
		}
	}
	return r.StatusCode
}

func (n *fakeNode) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, localURL+pathFollow, nil)
	r, err := n.way().Do(req)
	if err != nil || r.StatusCode != http.StatusOK {
		n.w.t.Fatalf("follow: %v", err)
	}
	n.mu.Lock()
	held := []nodeHeld{} // before the grants that come are in force, as a real node has it
	for s, rev := range n.held {
		held = append(held, nodeHeld{s, rev, n.fresh})
	}
	n.mu.Unlock()
	done := make(chan struct{})
	hello := make(chan struct{})
	go func() {
		defer close(done)
		defer r.Body.Close()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			var l nodeLine
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				n.w.t.Errorf("line: %v", err)
				return
			}
			if l.Kind == lineHello {
				close(hello)
				continue
			}
			n.obey(l)
		}
	}()
	<-hello
	n.stop = sync.OnceFunc(func() { cancel(); <-done })
	n.report(nodeReport{Sessions: &held})
}

func (n *fakeNode) report(r nodeReport) {
	n.mu.Lock()
	n.seq++
	r.Seq = n.seq
	n.mu.Unlock()
	if code := n.post(pathReport, r, nil); code != http.StatusNoContent && code != 0 && !(code == http.StatusForbidden && n.isDeleted()) {
		n.w.t.Errorf("report: %d", code)
	}
}

func (n *fakeNode) say(kind, session string, rev int, code string) {
	n.report(nodeReport{Events: []nodeEvent{{Kind: kind, Session: session, Rev: rev, Code: code, AtMicro: time.Now().UnixMicro()}}})
}

func (n *fakeNode) obey(l nodeLine) {
	n.mu.Lock()
	n.lines = append(n.lines, l)
	refuse, mute := n.refuse, n.mute
	n.mu.Unlock()
	switch l.Kind {
	case lineGrant:
		g, err := n.roots.VerifyGrant([]byte(l.Token))
		if err == nil && g.Far.Node != n.name {
			n.drop(l.Session, g.Rev)
			return
		}
		if err == nil {
			err = g.ForNode(n.name, n.key.Public(), time.Now())
		}
		if err != nil {
			n.w.t.Errorf("a grant that the node refuses: %v", err)
			return
		}
		if refuse != "" {
			n.say(eventRefused, l.Session, g.Rev, refuse)
			return
		}
		n.mu.Lock()
		n.held[l.Session] = g.Rev
		n.mu.Unlock()
		if !mute {
			n.say(eventInstalled, l.Session, g.Rev, "")
		}
	case lineEnd:
		if _, err := n.roots.Verify(keys.TypeDown, []byte(l.Token)); err != nil {
			n.w.t.Errorf("a down that the node refuses: %v", err)
			return
		}
		n.mu.Lock()
		delete(n.held, l.Session)
		n.mu.Unlock()
		n.say(eventClosed, l.Session, 0, "")
	}
}

// drop lets go of a session that is another node's, as a real node does.
func (n *fakeNode) drop(session string, rev int) {
	n.mu.Lock()
	held := n.held[session]
	if rev > held {
		delete(n.held, session)
	}
	n.mu.Unlock()
	switch {
	case held == 0:
		n.say(eventRefused, session, rev, keys.ReasonWrongNode)
	case rev > held:
		n.say(eventClosed, session, held, "moved")
	}
}

func (n *fakeNode) rev(session string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.held[session]
}

// proves makes a device's handler tell a node that its packets came.
func (n *fakeNode) proves(b *booth) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.proved = func(g *keys.Grant) { n.say(eventProved, g.Session, g.Rev, "") }
}

// pair is a node and a device whose tunnels it proves.
func (w *world) pair() (*fakeNode, *booth) {
	w.t.Helper()
	n := w.node("wg-1")
	b := w.booth("kiosk-1", true).serve().known()
	n.proves(b)
	return n, b
}

// connected is a pair with a session of ann's, as it was opened.
func (w *world) connected() (*fakeNode, *booth, client.Session) {
	w.t.Helper()
	n, b := w.pair()
	s := w.mustOpen(op("ann"), "kiosk-1")
	w.reaches(s.ID, client.Connected)
	return n, b, s
}

// open opens a session as a user.
func (w *world) open(u User, device string) (client.Session, error) {
	return w.c.Client(u).OpenSession(w.t.Context(), device, &client.OpenRequest{Key: keys.NewPrivateKey().Public(), Reason: "cannot print"})
}

func (w *world) mustOpen(u User, device string) client.Session {
	w.t.Helper()
	s, err := w.open(u, device)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// fails opens a session that the device refuses: its word may come before the
// opening is answered, and is the answer then (without a session), or after it.
func (w *world) fails(u User, device, want string) client.Session {
	w.t.Helper()
	s, err := w.open(u, device)
	if err != nil {
		if code(err) != want {
			w.t.Fatalf("refused as %v, want %s", err, want)
		}
		return s
	}
	if s = w.reaches(s.ID, client.Failed); s.Code != want {
		w.t.Errorf("failed as %+v, want %s", s, want)
	}
	return s
}

// mustClose has a user leave a session.
func (w *world) mustClose(u User, id string) {
	w.t.Helper()
	if _, err := w.c.Client(u).CloseSession(w.t.Context(), id); err != nil {
		w.t.Fatal(err)
	}
}

// live is a session as control has it.
func (w *world) live(id string) *session {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.c.sessions[id]
}

// reaches waits until a session is in a state.
func (w *world) reaches(id string, state client.SessionState) client.Session {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	var last client.Session
	for s, err := range w.admin.WatchSession(ctx, id) {
		if err != nil {
			w.t.Fatalf("session is %+v, want %s: %v", last, state, err)
		}
		if last = s; s.State == state {
			return s
		}
	}
	w.t.Fatalf("session ended as %+v, want %s", last, state)
	return last
}

func (w *world) audited(what, code string) (n int) {
	for a, err := range w.admin.Audit(w.t.Context(), client.Filter{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		if a.What == what && (code == "" || a.Code == code) {
			n += a.Count
		}
	}
	return n
}

func code(err error) string {
	if err == nil {
		return ""
	}
	var e *client.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

func op(name string) User { return User{Name: name, Role: Operator} }

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

func contextWithIdentity(ctx context.Context, k keys.IdentityKey) context.Context {
	return context.WithValue(ctx, localIdentity{}, k)
}
