package operator_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel/agent"
	"github.com/boothwire/boothwire/tunnel/operator"
)

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func done(t *testing.T, s *operator.Session) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Fatal("the session is not done")
	}
}

func TestSession(t *testing.T) {
	w := newWorld(t, agent.Config{}, echo)
	ann := w.as("ann", control.Operator)
	s, err := operator.Open(soon(t), ann, device, &operator.Config{Ticket: "4711", Reason: "cannot print", Lifetime: 30 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var stages []signaling.Stage
	for step, err := range s.Ladder(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		stages = append(stages, step.Stage)
	}
	for _, want := range []signaling.Stage{signaling.Received, signaling.Keyed, signaling.Handshake, signaling.Proved, signaling.Ready} {
		if !slices.Contains(stages, want) {
			t.Errorf("the ladder %v has no %s", stages, want)
		}
	}
	now := s.Status()
	if err := s.Ready(t.Context()); err != nil || now.Session.State != client.Connected {
		t.Errorf("ready: %v; %s, the tunnel is %s", err, now.Session.State, now.Tunnel.State)
	}
	if v := w.state(s.ID()); v.Ticket != "4711" || v.Reason != "cannot print" || v.Ends.Sub(v.Opened).Round(time.Minute) != 30*time.Minute {
		t.Errorf("control has %+v", v)
	}

	conn, err := s.Dial(soon(t), "tcp", ":22")
	if err != nil {
		t.Fatal(err)
	}
	if got := talk(t, conn, "hello"); got != "hello" {
		t.Errorf("the service answered %q", got)
	}
	if _, err := s.Dial(soon(t), "tcp", "22"); err == nil {
		t.Error("an address without a colon was dialled")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := s.Err(); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if err := s.Ready(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ready after Close: %v", err)
	}
	if _, err := s.Dial(t.Context(), "tcp", ":22"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial after Close: %v", err)
	}
	w.wait("control has closed it", func() bool { return w.state(s.ID()).State == client.Closed })
	w.wait("the node has none", func() bool { return len(w.node.Sessions()) == 0 })
}

// talk sends text, says that it was all, and returns the answer.
func talk(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func TestForward(t *testing.T) {
	w := newWorld(t, agent.Config{}, echo)
	s, err := operator.Open(soon(t), w.as("ann", control.Operator), device, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// Connections wait for Ready.
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- s.Forward(ctx, ln, ":22") }()
	big := strings.Repeat("0123456789abcdef", 1<<15)
	for _, text := range []string{"one", big} {
		if got := talk(t, must(net.Dial("tcp", ln.Addr().String())), text); got != text {
			t.Errorf("%d bytes came back, want %d", len(got), len(text))
		}
	}
	open := must(net.Dial("tcp", ln.Addr().String()))
	defer open.Close()
	io.WriteString(open, "unfinished")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("the local port is still open")
	}
	open.SetReadDeadline(time.Now().Add(patience))
	if n, err := open.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a connection is still forwarded: %d, %v", n, err)
	}

	// The session's end ends a Forward too, with its reason.
	ln = must(net.Listen("tcp", "127.0.0.1:0"))
	go func() { ended <- s.Forward(t.Context(), ln, ":22") }()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ended with %v", err)
	}
}

func TestRefusedByControl(t *testing.T) {
	w := newWorld(t, agent.Config{}, echo)
	for _, tt := range []struct {
		name, device, code string
		ctl                *client.Client
		cfg                *operator.Config
	}{
		{"unknown device", "kiosk-9", "not_found", w.as("ann", control.Operator), nil},
		{"viewer", device, "forbidden", w.as("eve", control.Viewer), nil},
		{"unknown node", device, "unknown_node", w.as("ann", control.Operator), &operator.Config{Node: "wg-9"}},
		{"too long", device, "too_long", w.as("ann", control.Operator), &operator.Config{Lifetime: 1000 * time.Hour}},
	} {
		_, err := operator.Open(soon(t), tt.ctl, tt.device, tt.cfg)
		e, ok := errors.AsType[*operator.Error](err)
		if !ok || e.Code != tt.code || !strings.Contains(err.Error(), tt.code) {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.code)
		}
	}
}

func TestRefusedByHost(t *testing.T) {
	opened := make(chan struct{}) // a refusal may come before the opening is answered, and is the answer then
	w := newWorld(t, agent.Config{MayOpen: func(context.Context, agent.Session) error { <-opened; return errors.New("a customer is here") }}, echo)
	s, err := operator.Open(soon(t), w.as("ann", control.Operator), device, nil)
	close(opened)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var last error
	for _, err := range s.Ladder(soon(t)) {
		last = err
	}
	for _, err := range []error{last, s.Ready(soon(t)), s.Err()} {
		e, ok := errors.AsType[*operator.Error](err)
		if !ok || e.Code != "refused_by_host" || !strings.Contains(err.Error(), "a customer is here") {
			t.Errorf("got %v", err)
		}
	}
	done(t, s)
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestHostMakesWaitAndCloseDoesNot(t *testing.T) {
	w := newWorld(t, agent.Config{MayOpen: func(ctx context.Context, _ agent.Session) error { <-ctx.Done(); return ctx.Err() }}, echo)
	s, err := operator.Open(soon(t), w.as("ann", control.Operator), device, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ready: %v", err)
	}
	waiting := make(chan error, 2)
	go func() { waiting <- s.Ready(context.Background()) }()
	go func() {
		_, err := s.Dial(context.Background(), "tcp", ":22")
		waiting <- err
	}()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-waiting; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a waiting call got %v", err)
		}
	}
}

func TestTwoOperators(t *testing.T) {
	w := newWorld(t, agent.Config{}, echo)
	ann := must(operator.Open(soon(t), w.as("ann", control.Operator), device, nil))
	defer ann.Close()
	bob := must(operator.Open(soon(t), w.as("bob", control.Operator), device, nil))
	defer bob.Close()
	if ann.ID() != bob.ID() {
		t.Fatalf("two sessions, %s and %s", ann.ID(), bob.ID())
	}
	for _, s := range []*operator.Session{ann, bob} {
		if got := talk(t, must(s.Dial(soon(t), "tcp", ":22")), "hello"); got != "hello" {
			t.Errorf("the service answered %q", got)
		}
	}
	// One's leaving is not the other's end.
	if err := ann.Close(); err != nil {
		t.Error(err)
	}
	if got := talk(t, must(bob.Dial(soon(t), "tcp", ":22")), "hello"); got != "hello" {
		t.Errorf("the service answered %q", got)
	}
	// Who is removed by somebody else learns it, and leaves the session to others.
	cat := must(operator.Open(soon(t), w.as("cat", control.Operator), device, nil))
	defer cat.Close()
	if err := cat.Ready(soon(t)); err != nil {
		t.Fatal(err)
	}
	boss := w.as("boss", control.Approver)
	if _, err := boss.RemoveOperator(t.Context(), bob.ID(), bob.Status().Session.Operator); err != nil {
		t.Fatal(err)
	}
	done(t, bob)
	if e, ok := errors.AsType[*operator.Error](bob.Err()); !ok || e.Code != operator.CodeRemoved {
		t.Errorf("bob's session ended with %v", bob.Err())
	}
	if err := bob.Close(); err != nil {
		t.Errorf("bob's close: %v", err)
	}
	if got := talk(t, must(cat.Dial(soon(t), "tcp", ":22")), "hello"); got != "hello" {
		t.Errorf("the service answered %q", got)
	}
}

func TestEndedElsewhere(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*world, *operator.Session)
		code string // "": as planned
	}{
		{"closed by an approver", func(w *world, s *operator.Session) {
			must(w.as("boss", control.Approver).CloseForAll(t.Context(), s.ID()))
		}, ""},
		{"closed at the device", func(w *world, _ *operator.Session) { w.agent.Hangup(t.Context()) }, "hangup"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, agent.Config{}, echo)
			s := must(operator.Open(soon(t), w.as("ann", control.Operator), device, nil))
			defer s.Close()
			if err := s.Ready(soon(t)); err != nil {
				t.Fatal(err)
			}
			tt.end(w, s)
			done(t, s)
			e, _ := errors.AsType[*operator.Error](s.Err())
			if (tt.code == "") != (s.Err() == nil) || e != nil && e.Code != tt.code {
				t.Errorf("ended with %v, want %q", s.Err(), tt.code)
			}
			for range 50 { // an end counts, however ready it was
				if err := s.Ready(t.Context()); err == nil {
					t.Fatal("a session that is over is ready")
				}
			}
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// A caller that goes away while control waits for the node leaves nothing open.
func TestOpenCancelled(t *testing.T) {
	w := newWorld(t, agent.Config{}, echo)
	ctx, cancel := context.WithCancel(t.Context())
	ann := w.control.HTTP()
	tok := must(w.as("admin", control.Admin).CreateToken(t.Context(), &client.TokenRequest{User: "ann", Role: "operator"}))
	refuse := errors.New("not now")
	ctl := client.New("http://control.local", &client.Config{Token: tok.Secret, HTTP: &http.Client{Transport: spy{ann.Transport, func(r *http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/trust") {
			cancel()
			return refuse
		}
		return nil
	}}}})
	_, err := operator.Open(ctx, ctl, device, nil)
	if !errors.Is(err, refuse) && !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	w.wait("nothing is open", func() bool {
		d := must(w.as("admin", control.Admin).Device(t.Context(), device))
		return d.Session == ""
	})
}

// Roots that the caller pins decide, whatever control says.
func TestForeignRoots(t *testing.T) {
	w := newWorld(t, agent.Config{}, echo)
	other := must(keys.OpenIdentity(keys.NewMemory(), "root"))
	roots := must(keys.ParseRoots("", other.Key().String()))
	_, err := operator.Open(soon(t), w.as("ann", control.Operator), device, &operator.Config{Roots: roots})
	if e, ok := errors.AsType[*keys.GrantError](err); !ok || e.Reason != keys.ReasonUnknownSigner {
		t.Errorf("got %v", err)
	}
	w.wait("nothing is open", func() bool {
		d := must(w.as("admin", control.Admin).Device(t.Context(), device))
		return d.Session == ""
	})
}

// Close says when control could not be told, and is over all the same.
func TestCloseWithoutControl(t *testing.T) {
	w := newWorld(t, agent.Config{}, echo)
	tok := must(w.as("admin", control.Admin).CreateToken(t.Context(), &client.TokenRequest{User: "ann", Role: "operator"}))
	gone := errors.New("no way to control")
	ctl := client.New("http://control.local", &client.Config{Token: tok.Secret, HTTP: &http.Client{Transport: spy{w.control.HTTP().Transport, func(r *http.Request) error {
		if r.Method == http.MethodDelete {
			return gone
		}
		return nil
	}}}})
	s := must(operator.Open(soon(t), ctl, device, nil))
	if err := s.Close(); !errors.Is(err, gone) {
		t.Errorf("close: %v", err)
	}
	done(t, s)
}

// A control that answers with a grant of something else is not believed.
func TestForeignGrant(t *testing.T) {
	w := newWorld(t, agent.Config{}, echo)
	tok := must(w.as("admin", control.Admin).CreateToken(t.Context(), &client.TokenRequest{User: "ann", Role: "operator"}))
	for _, tt := range []struct {
		name, device, want string
		request            func(*client.OpenRequest)
		answer             func(*client.Session)
	}{
		{"session", device, "another session", nil, func(s *client.Session) { s.ID = "other" }},
		{"device", "kiosk-2", "of the device \"kiosk-1\"", func(r *client.OpenRequest) { r.Device = device }, nil},
		{"key", device, "does not name", func(r *client.OpenRequest) { r.Key = keys.NewPrivateKey().Public() }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctl := client.New("http://control.local", &client.Config{Token: tok.Secret, HTTP: &http.Client{Transport: liar[client.OpenRequest, client.Session]{w.control.HTTP().Transport, tt.request, tt.answer}}})
			s, err := operator.Open(soon(t), ctl, tt.device, nil)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			boss := w.as("boss", control.Approver)
			for s := range boss.Sessions(t.Context(), client.Filter{Open: true}) {
				must(boss.CloseForAll(t.Context(), s.ID))
			}
			w.wait("nothing is open", func() bool { return len(w.node.Sessions()) == 0 })
		})
	}
}
