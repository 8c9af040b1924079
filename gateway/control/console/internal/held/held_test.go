package held_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/gateway/control/console/internal/consoletest"
	"github.com/boothwire/boothwire/gateway/control/console/internal/held"
	"github.com/boothwire/boothwire/internal/leaktest"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/tunnel/agent"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	device   = "kiosk-1"
	patience = time.Minute
)

// A world has one device, whose three services send everything back.
type world struct {
	*consoletest.World
	t     *testing.T
	held  *held.Sessions
	agent *agent.Agent
}

func newWorld(t *testing.T, c *control.Config, cfg *held.Config, a *agent.Config) *world {
	t.Helper()
	t.Parallel() // it mostly waits
	w := &world{World: consoletest.New(t, c), t: t}
	w.agent = w.Device(device, "north", w.services(), a)
	w.held = held.New(cfg)
	t.Cleanup(w.held.Close)
	return w
}

func (w *world) services() map[keys.Port]string {
	at := w.Serve(func(c net.Conn) { io.Copy(c, c) })
	return map[keys.Port]string{keys.TCP(22): at, keys.TCP(445): at, keys.TCP(3389): at}
}

// login is a user's login, and how it ends.
func login(user, id string) (held.Who, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	return held.Who{User: user, Login: id, Until: ctx}, cancel
}

// A clock is the system's, but while it is stopped.
type clock struct{ stopped atomic.Pointer[time.Time] }

func (c *clock) now() time.Time {
	if at := c.stopped.Load(); at != nil {
		return *at
	}
	return time.Now()
}

func (c *clock) stop() { now := time.Now(); c.stopped.Store(&now) }

func (c *clock) start() { c.stopped.Store(nil) }

func (w *world) request(who held.Who) held.Request {
	return held.Request{Who: who, API: w.Client(who.User, control.Operator), Device: device}
}

func (w *world) open(who held.Who) *held.Session {
	w.t.Helper()
	s, err := w.held.Open(soon(w.t), w.request(who))
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) tab(s *held.Session, who held.Who) *held.Tab {
	w.t.Helper()
	tab, err := s.Tab(w.t.Context(), who)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(tab.Close)
	return tab
}

// dial is a connection on which hello has come back.
func (w *world) dial(tab *held.Tab, port uint16) net.Conn {
	w.t.Helper()
	c, err := tab.Dial(soon(w.t), port)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	w.talk(c)
	return c
}

func (w *world) talk(c net.Conn) {
	w.t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	got := make([]byte, 5)
	if _, err := c.Write([]byte("hello")); err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		w.t.Fatalf("%q came back, %v", got, err)
	}
}

// over waits for the end of a session, and returns how it was.
func (w *world) over(s *held.Session) held.Over {
	w.t.Helper()
	for v := range s.Watch(soon(w.t)) {
		if v.Over != nil {
			return *v.Over
		}
	}
	w.t.Fatalf("session %s does not end", s.ID)
	return held.Over{}
}

// ends waits for the end of a tab's context, and returns why it is.
func (w *world) ends(tab *held.Tab) string {
	w.t.Helper()
	select {
	case <-tab.Context().Done():
	case <-time.After(patience):
		w.t.Fatal("the tab does not end")
	}
	return code(tab.Err())
}

func (w *world) closed(id string) {
	w.t.Helper()
	w.Wait("closed at control", func() bool { return w.Session(id).State == client.Closed })
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func code(err error) string {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// One opens a session, sees its ladder, reaches what was granted and nothing else, and
// leaves; control's record says so.
func TestSession(t *testing.T) {
	w := newWorld(t, nil, nil, nil)
	ann, _ := login("ann", "l1")
	r := w.request(ann)
	r.Ports, r.Reason, r.Ticket, r.Lifetime = []keys.Port{keys.TCP(22), keys.TCP(3389)}, "cannot print", "4711", 10*time.Minute
	s, err := w.held.Open(soon(t), r)
	if err != nil {
		t.Fatal(err)
	}
	tab := w.tab(s, ann)
	var last held.Status
	steps := 0
	for v := range s.Watch(soon(t)) {
		if len(v.Session.Ladder) < steps {
			t.Errorf("the ladder has %d steps after %d", len(v.Session.Ladder), steps)
		}
		last, steps = v, len(v.Session.Ladder)
		if v.Ready {
			break
		}
	}
	if last.Tabs != 1 || !last.Leaves.IsZero() || last.Reachable <= 0 || len(last.Ports) != 2 || last.Tunnel.Path != "direct" ||
		last.Session.Ticket != "4711" || last.Session.Reason != "cannot print" || last.Session.Operators[0].ID != last.Self || steps < 5 {
		t.Errorf("ready as %+v", last)
	}
	w.dial(tab, 22)
	w.dial(tab, 3389)
	for port, want := range map[uint16]string{445: "port_not_granted", 80: "port_not_granted", 0: "port_not_granted"} {
		if _, err := tab.Dial(soon(t), port); code(err) != want {
			t.Errorf("port %d: %v", port, err)
		}
	}
	if err := s.Extend(soon(t), time.Hour); err != nil {
		t.Error(err)
	}
	if left := time.Until(w.Session(s.ID).Ends); left < 59*time.Minute {
		t.Errorf("extended to %v", left)
	}
	if err := s.Leave(); err != nil {
		t.Error(err)
	}
	if got := w.over(s); got.Code != "left" {
		t.Errorf("over as %+v", got)
	}
	if got := w.ends(tab); got != "left" {
		t.Errorf("the tab ended as %q", got)
	}
	if _, err := s.Tab(t.Context(), ann); code(err) != "closed" {
		t.Errorf("a tab of a session that is over: %v", err)
	}
	if err := s.Extend(soon(t), time.Hour); code(err) != "closed" {
		t.Errorf("extended a session that is over: %v", err)
	}
	w.closed(s.ID)
}

// What others may not read stays out of what a page is told.
func TestStatusHasNoSecret(t *testing.T) {
	w := newWorld(t, nil, nil, nil)
	ann, _ := login("ann", "l1")
	s := w.open(ann)
	text, err := json.Marshal(s.Status())
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{`"grant"`, `"relays"`, `"stun"`, `"renewal"`, "eyJ"} {
		if strings.Contains(string(text), word) {
			t.Errorf("%s in %s", word, text)
		}
	}
}

// Control decides: what it refuses is refused here, in its words.
func TestRefusals(t *testing.T) {
	w := newWorld(t, &control.Config{RequireReason: true, RequireTicket: true, Longest: time.Hour}, nil, nil)
	for _, tt := range []struct {
		name   string
		api    *client.Client
		change func(*held.Request)
		status int
		code   string
	}{
		{"a viewer", w.Client("eve", control.Viewer), nil, http.StatusForbidden, "forbidden"},
		{"an operator of another group", w.Client("eve", control.Operator, "south"), nil, http.StatusNotFound, "not_found"},
		{"no such device", w.Client("ann", control.Operator), func(r *held.Request) { r.Device = "kiosk-2" }, http.StatusNotFound, "not_found"},
		{"without a reason", w.Client("ann", control.Operator), func(r *held.Request) { r.Reason = " " }, http.StatusUnprocessableEntity, "reason_required"},
		{"without a ticket", w.Client("ann", control.Operator), func(r *held.Request) { r.Ticket = "" }, http.StatusUnprocessableEntity, "ticket_required"},
		{"too long", w.Client("ann", control.Operator), func(r *held.Request) { r.Lifetime = 2 * time.Hour }, http.StatusUnprocessableEntity, "too_long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			who, _ := login("ann", "l1")
			r := held.Request{Who: who, API: tt.api, Device: device, Reason: "cannot print", Ticket: "4711"}
			if tt.change != nil {
				tt.change(&r)
			}
			s, err := w.held.Open(soon(t), r)
			e, ok := errors.AsType[*client.Error](err)
			if !ok || e.Code != tt.code || e.Status != tt.status {
				t.Errorf("%v, %v", s, err)
			}
		})
	}
}

// The last tab's end begins the grace; whoever comes back in time finds the session as it
// was, and when nobody does it is left.
func TestGrace(t *testing.T) {
	for _, grace := range []time.Duration{-1, 100 * time.Millisecond} {
		t.Run(grace.String(), func(t *testing.T) {
			var c clock // stands while nobody looks, or who comes back might be late
			w := newWorld(t, nil, &held.Config{Grace: grace, Now: c.now}, nil)
			ann, _ := login("ann", "l1")
			s := w.open(ann)
			first, second := w.tab(s, ann), w.tab(s, ann)
			w.dial(first, 22)
			first.Close()
			first.Close() // is one
			if grace > 0 {
				c.stop()
				second.Close()
				if s.Status().Leaves.IsZero() {
					t.Error("nobody looks at it, and it does not say when it is left")
				}
				second = w.tab(s, ann)
				c.start()
			}
			time.Sleep(3 * grace)
			conn := w.dial(second, 22)
			second.Close()
			if got := w.over(s); got.Code != "unwatched" {
				t.Errorf("over as %+v", got)
			}
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Error("a connection outlived its tab")
			}
			w.closed(s.ID)
		})
	}
}

// Two engineers in one session: one's end is not the other's, whoever removes him.
func TestKick(t *testing.T) {
	w := newWorld(t, nil, nil, nil)
	ann, _ := login("ann", "l1")
	bob, _ := login("bob", "l2")
	his, hers := w.open(bob), w.open(ann)
	if his.ID != hers.ID || his == hers {
		t.Fatalf("sessions %s and %s", his.ID, hers.ID)
	}
	tab, other := w.tab(his, bob), w.tab(hers, ann)
	c, conn := w.dial(tab, 22), w.dial(other, 22)
	w.Wait("they see each other", func() bool { return len(hers.Status().Session.Operators) == 2 })
	boss := w.Client("boss", control.Approver)
	if _, err := boss.RemoveOperator(soon(t), his.ID, his.Status().Self); err != nil {
		t.Fatal(err)
	}
	if got := w.ends(tab); got != "removed" {
		t.Errorf("the tab ended as %q", got)
	}
	if got := w.over(his); got.Code != "removed" {
		t.Errorf("over as %+v", got)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("his connection goes on")
	}
	w.talk(conn)
	w.Wait("she sees that he is out", func() bool { return len(hers.Status().Session.Operators) == 1 })
	if v := hers.Status(); v.Over != nil {
		t.Errorf("hers is %+v", v)
	}
	// He may come back, and what he finds then is the new one.
	again := w.open(bob)
	if found, err := w.held.Find("bob", again.ID); again == his || again.ID != his.ID || found != again {
		t.Errorf("%v, %v", found, err)
	}
}

// However a session ends elsewhere, its pages are told how.
func TestEndsElsewhere(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*world, string)
		code string
	}{
		{"closed by an approver", func(w *world, id string) { w.Client("boss", control.Approver).CloseForAll(w.t.Context(), id) }, "closed"},
		{"closed at the device", func(w *world, _ string) { w.agent.Hangup(w.t.Context()) }, "hangup"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil, nil, nil)
			ann, _ := login("ann", "l1")
			s := w.open(ann)
			tab := w.tab(s, ann)
			w.dial(tab, 22)
			tt.end(w, s.ID)
			if got := w.over(s); got.Code != tt.code || got.At.IsZero() {
				t.Errorf("over as %+v", got)
			}
			if got := w.ends(tab); got != tt.code {
				t.Errorf("the tab ended as %q", got)
			}
		})
	}
}

// The kiosk's own software says no: the page has the code and how far it came.
func TestRefusedByHost(t *testing.T) {
	opened := make(chan struct{})
	w := newWorld(t, nil, nil, &agent.Config{MayOpen: func(context.Context, agent.Session) error {
		<-opened
		return errors.New("a customer pays")
	}})
	ann, _ := login("ann", "l1")
	s := w.open(ann)
	tab := w.tab(s, ann)
	close(opened)
	if _, err := tab.Dial(soon(t), 22); code(err) != "refused_by_host" {
		t.Errorf("dialled with %v", err)
	}
	if got := w.over(s); got.Code != "refused_by_host" || got.Stage == "" || !strings.Contains(got.Why, "a customer pays") {
		t.Errorf("over as %+v", got)
	}
}

// The end of a login is the end of its tabs and, when it was nobody else's, of its
// session.
func TestLoginEnds(t *testing.T) {
	w := newWorld(t, nil, nil, nil)
	laptop, signOut := login("ann", "l1")
	phone, signOutToo := login("ann", "l2")
	s := w.open(laptop)
	one, two := w.tab(s, laptop), w.tab(s, phone)
	c, conn := w.dial(one, 22), w.dial(two, 22)
	signOut()
	if got := w.ends(one); got != "signed_out" {
		t.Errorf("the tab ended as %q", got)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived its login")
	}
	w.talk(conn)
	if _, err := s.Tab(t.Context(), laptop); code(err) != "signed_out" {
		t.Errorf("a tab of a login that has ended: %v", err)
	}
	signOutToo()
	if got := w.over(s); got.Code != "signed_out" {
		t.Errorf("over as %+v", got)
	}
	w.closed(s.ID)
}

// Control goes and comes back: the tunnel stays, and so does the session.
func TestControlRestarts(t *testing.T) {
	w := newWorld(t, nil, nil, nil)
	ann, _ := login("ann", "l1")
	s := w.open(ann)
	tab := w.tab(s, ann)
	c := w.dial(tab, 22)
	w.Restart(300 * time.Millisecond)
	w.talk(c)
	w.NodeBack("wg-1")
	w.dial(tab, 22)
	w.Wait("extended after the restart", func() bool { return s.Extend(soon(t), 2*time.Hour) == nil })
	w.Wait("the page is told", func() bool { return time.Until(s.Status().Session.Ends) > time.Hour })
	if v := s.Status(); v.Over != nil || !v.Ready {
		t.Errorf("it is %+v", v)
	}
	if err := s.Leave(); err != nil {
		t.Error(err)
	}
	w.closed(s.ID)
}

// Two clicks are one session; and nobody has more than so many.
func TestOneEach(t *testing.T) {
	w := newWorld(t, nil, &held.Config{Most: 1}, nil)
	w.Device("kiosk-2", "north", w.services(), nil)
	ann, _ := login("ann", "l1")
	var work sync.WaitGroup
	var got [4]*held.Session
	for i := range got {
		work.Go(func() { got[i], _ = w.held.Open(soon(t), w.request(ann)) })
	}
	work.Wait()
	for _, s := range got {
		if s == nil || s != got[0] {
			t.Fatalf("sessions %v", got)
		}
	}
	if v := w.Session(got[0].ID); len(v.Operators) != 1 {
		t.Errorf("operators %+v", v.Operators)
	}
	r := w.request(ann)
	r.Ports = []keys.Port{keys.TCP(22), keys.TCP(5900)}
	if _, err := w.held.Open(soon(t), r); code(err) != "already_open" {
		t.Errorf("other ports: %v", err)
	}
	r = w.request(ann)
	r.Device = "kiosk-2"
	if _, err := w.held.Open(soon(t), r); code(err) != "too_many_sessions" {
		t.Errorf("one more: %v", err)
	}
	bob, _ := login("bob", "l2")
	r = w.request(bob)
	r.Device = "kiosk-2"
	if _, err := w.held.Open(soon(t), r); err != nil {
		t.Errorf("another user: %v", err)
	}
	// One that is over does not count.
	if err := got[0].Leave(); err != nil {
		t.Error(err)
	}
	r = w.request(ann)
	r.Device = "kiosk-2"
	if _, err := w.held.Open(soon(t), r); err != nil {
		t.Errorf("after the end of the other: %v", err)
	}
}

// Where devices wait for their turn to be woken, the page is told its place.
func TestWaiting(t *testing.T) {
	var c clock // stands, so that nobody's turn comes before the test has looked
	w := newWorld(t, &control.Config{Wakes: 1, Now: c.now}, nil, nil)
	ids := []string{device, "kiosk-2", "kiosk-3"}
	for _, id := range ids[1:] {
		w.Device(id, "north", w.services(), nil)
	}
	ann, _ := login("ann", "l1")
	var work sync.WaitGroup
	var waited atomic.Int32
	c.stop()
	for _, id := range ids {
		r := w.request(ann)
		r.Device = id
		s, err := w.held.Open(soon(t), r)
		if err != nil {
			t.Fatal(err)
		}
		ctx := soon(t)
		work.Go(func() {
			in := false
			for v := range s.Watch(ctx) {
				if wait := v.Session.Waiting; wait != nil && !in {
					in = true
					waited.Add(1)
					if wait.Position < 1 || wait.For <= 0 {
						t.Errorf("%s waits as %+v", v.Session.Device, wait)
					}
				}
				if v.Ready {
					return
				}
			}
			t.Errorf("%s is never ready", id)
		})
	}
	w.Wait("somebody is told that he waits", func() bool { return waited.Load() > 0 })
	c.start()
	work.Wait()
}

// What a user holds is nobody else's, though he is in the same session.
func TestOthersFindNothing(t *testing.T) {
	w := newWorld(t, nil, nil, nil)
	ann, _ := login("ann", "l1")
	bob, _ := login("bob", "l2")
	s := w.open(ann)
	if _, err := w.held.Find("bob", s.ID); code(err) != "not_held" {
		t.Errorf("bob found %v", err)
	}
	if _, err := s.Tab(t.Context(), bob); code(err) != "not_held" {
		t.Errorf("bob's tab: %v", err)
	}
	if _, err := w.held.Find("ann", "nonsense"); code(err) != "not_held" {
		t.Errorf("found %v", err)
	}
}

// The ways to misuse a connect code, each against a session that is open and reachable.
func TestCodeIsRefused(t *testing.T) {
	logs, log := watchLogs()
	var ahead atomic.Int64
	w := newWorld(t, nil, &held.Config{Logger: log, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}, nil)
	w.Device("kiosk-2", "north", w.services(), nil)
	ann, signOut := login("ann", "l1")
	phone, _ := login("ann", "l2")
	bob, _ := login("bob", "l3")
	hers, his := w.open(ann), w.open(bob)
	w.tab(hers, ann)
	w.tab(his, bob)
	r := w.request(ann)
	r.Device = "kiosk-2"
	second, err := w.held.Open(soon(t), r)
	if err != nil {
		t.Fatal(err)
	}
	w.tab(second, phone)
	var codes []string
	fresh := func(s *held.Session) string {
		c, err := s.Code(ann, held.RDP)
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, c)
		return c
	}
	redeem := func(c string, who held.Who, p held.Protocol) string {
		tab, err := w.held.Redeem(t.Context(), c, who, p)
		if err != nil {
			return code(err)
		}
		defer tab.Close()
		return tab.Session.ID
	}
	one := fresh(hers)
	if got := redeem(one, ann, held.RDP); got != hers.ID {
		t.Fatalf("the code as it was made: %q", got)
	}
	for _, tt := range []struct {
		name string
		try  func() string
		want string
	}{
		{"used twice", func() string { return redeem(one, ann, held.RDP) }, "bad_code"},
		{"by another user in the same session", func() string { return redeem(fresh(hers), bob, held.RDP) }, "bad_code"},
		{"by another login of the user", func() string { return redeem(fresh(hers), phone, held.RDP) }, "bad_code"},
		{"for another protocol", func() string { return redeem(fresh(hers), ann, held.SSH) }, "bad_code"},
		{"leads to its own session only", func() string { return redeem(fresh(second), ann, held.RDP) }, second.ID},
		{"guessed", func() string { return redeem(strings.Repeat("A", 43), ann, held.RDP) }, "bad_code"},
		{"nothing", func() string { return redeem("", ann, held.RDP) }, "bad_code"},
		{"30 s late", func() string {
			c := fresh(hers)
			ahead.Store(int64(30 * time.Second))
			defer ahead.Store(0)
			return redeem(c, ann, held.RDP)
		}, "bad_code"},
		{"after the session was left", func() string {
			c := fresh(second)
			if err := second.Leave(); err != nil {
				t.Error(err)
			}
			w.over(second)
			return redeem(c, ann, held.RDP)
		}, "bad_code"},
		{"after the login ended", func() string {
			c := fresh(hers)
			signOut()
			w.Wait("the login's end is seen", func() bool { return hers.Status().Over != nil })
			return redeem(c, ann, held.RDP)
		}, "bad_code"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.try(); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	if _, err := his.Code(bob, "vnc"); code(err) != "malformed" {
		t.Errorf("a code for an unknown protocol: %v", err)
	}
	text := logs()
	if !strings.Contains(text, "a connect code was refused") {
		t.Errorf("nothing was logged: %s", text)
	}
	for _, c := range codes {
		if strings.Contains(text, c) {
			t.Errorf("the code %s is in the log", c)
		}
	}
}

// A code for a port that was not granted is not made.
func TestCodeNeedsItsPort(t *testing.T) {
	w := newWorld(t, nil, nil, nil)
	ann, _ := login("ann", "l1")
	r := w.request(ann)
	r.Ports = []keys.Port{keys.TCP(22)}
	s, err := w.held.Open(soon(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Code(ann, held.RDP); code(err) != "port_not_granted" {
		t.Errorf("a code for RDP: %v", err)
	}
	if _, err := s.Code(ann, held.SSH); err != nil {
		t.Error(err)
	}
}

// The console's end leaves every session, and opens none any more.
func TestClose(t *testing.T) {
	w := newWorld(t, nil, nil, nil)
	ann, _ := login("ann", "l1")
	bob, _ := login("bob", "l2")
	hers := w.open(ann)
	tab := w.tab(hers, ann)
	w.dial(tab, 22)
	w.open(bob)
	w.held.Close()
	w.held.Close()
	if got := w.ends(tab); got != "stopping" {
		t.Errorf("the tab ended as %q", got)
	}
	w.closed(hers.ID)
	if _, err := w.held.Open(soon(t), w.request(ann)); code(err) != "stopping" {
		t.Errorf("opened with %v", err)
	}
	if _, err := w.held.Find("ann", hers.ID); code(err) != "not_held" {
		t.Errorf("found with %v", err)
	}
}

// A control that stops takes its console with it, which leaves what it holds: nobody is
// in the session any more when control is back.
func TestStopsWithControl(t *testing.T) {
	w := newWorld(t, nil, nil, nil)
	ann, _ := login("ann", "l1")
	s := w.open(ann)
	w.dial(w.tab(s, ann), 22)
	w.Stopping = func() {
		began := time.Now()
		w.held.Close()
		t.Logf("left in %v", time.Since(began))
	}
	w.Restart(0)
	w.closed(s.ID)
}

// watchLogs returns what was logged so far, all fields of it, and where to log.
func watchLogs() (func() string, *zap.Logger) {
	core, logs := observer.New(zapcore.DebugLevel)
	return func() string {
		text := ""
		for _, e := range logs.All() {
			fields, _ := json.Marshal(e.ContextMap())
			text += e.Message + string(fields) + "\n"
		}
		return text
	}, zap.New(core)
}
