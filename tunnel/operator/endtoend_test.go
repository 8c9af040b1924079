package operator_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/internal/testca"
	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/relay/server"
	"github.com/boothwire/boothwire/signaling"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/agent"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// A road is a relay that control names.
type road struct {
	control control.Relay
	cfg     *relay.Config
	serve   func(*world)
	again   func(*world, func() time.Time) // killed, and started with another clock
	srv     *server.Server
}

func newRoad(t *testing.T) *road {
	t.Helper()
	ca := testca.New(t, t.TempDir())
	cert, file := ca.Server("relay", []string{"127.0.0.1"})
	key := keys.NewPrivateKey()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	r := &road{
		control: control.Relay{Name: "r-1", URL: "https://" + ln.Addr().String() + "/relay", Key: key.Public()},
		cfg:     &relay.Config{TLS: &tls.Config{RootCAs: ca.Pool()}, Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }},
	}
	start := func(w *world, ln net.Listener, now func() time.Time) {
		roots := must(keys.ParseRoots("", w.control.Roots()...))
		srv := must(server.New("r-1", key, roots, &server.Config{TLS: &tls.Config{Certificates: []tls.Certificate{ca.Pair(cert, file)}}, Drain: time.Millisecond, Now: now}))
		w.run(func(ctx context.Context) { srv.Serve(ctx, ln) })
		r.srv = srv
	}
	r.again = func(w *world, now func() time.Time) {
		r.srv.Close()
		ln.Close()
		var next net.Listener
		w.wait("its port", func() bool { // another process may have it for a moment
			var err error
			next, err = net.Listen("tcp", ln.Addr().String())
			return err == nil
		})
		start(w, next, now)
	}
	r.serve = func(w *world) {
		start(w, ln, nil)
		admin := w.as("admin", control.Admin)
		w.run(func(ctx context.Context) {
			admin.Revocations(ctx, func(session string) error { r.srv.Revoke(session); return nil })
		})
	}
	return r
}

func TestEndToEndByRelay(t *testing.T) {
	r := newRoad(t)
	w := newWorldWith(t, &control.Config{Relays: []control.Relay{r.control}}, agent.Config{Relay: r.cfg}, echo)
	r.serve(w)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := must(operator.Open(ctx, w.as("ann", control.Operator), device, &operator.Config{EndToEnd: true, Path: tunnel.RelayOnly, Relay: r.cfg}))
	defer s.Close()
	conn := must(s.Dial(ctx, "tcp", ":22"))
	io.WriteString(conn, "no node between")
	conn.(interface{ CloseWrite() error }).CloseWrite()
	if all, err := io.ReadAll(conn); err != nil || string(all) != "no node between" {
		t.Errorf("%q, %v", all, err)
	}
	conn.Close()
	if st := s.Status(); st.Tunnel.Path != tunnel.Relay || !st.Session.EndToEnd || st.Session.Node != "" {
		t.Errorf("%+v", st)
	}
	if len(w.node.Sessions()) != 0 {
		t.Error("a node takes part")
	}
	// A renewal through the tunnel lets the device go on for longer.
	before := w.agent.Status().Session.Lifetime
	time.Sleep(1100 * time.Millisecond)
	if err := s.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	w.wait("a longer lifetime", func() bool { return w.agent.Status().Session.Lifetime > before })
	if st := w.agent.Status(); st.Tunnel.Path != tunnel.Relay || st.Tunnel.State != tunnel.Connected {
		t.Errorf("after a renewal: %+v", st.Tunnel)
	}
	// Tokens of a new key of the device are not for the leg of the old one.
	later := *s.Grant()
	later.Prekey = keys.NewPrivateKey().Public()
	refused := r.srv.Stats().Reasons
	s.Prepare(&later, []keys.Relay{{URL: r.control.URL, Key: r.control.Key, Token: "of.another.pair"}})
	must(s.Dial(ctx, "tcp", ":22")).Close()
	if now := r.srv.Stats().Reasons; !maps.Equal(now, refused) {
		t.Errorf("the relay refused %v, before %v", now, refused)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	w.wait("silence", func() bool {
		return w.agent.Status().State == signaling.Disconnected && r.srv.Stats().Legs == 0
	})
}

// Sockets of the hosts' own: bound to loopback, which is otherwise offered to nobody.
func TestEndToEndDirect(t *testing.T) {
	loopback := func() (net.PacketConn, error) { return net.ListenPacket("udp", "127.0.0.1:0") }
	r := newRoad(t)
	w := newWorldWith(t, &control.Config{Relays: []control.Relay{r.control}}, agent.Config{Relay: r.cfg, Socket: loopback}, echo)
	r.serve(w)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	broken := errors.New("no socket today")
	if _, err := operator.Open(ctx, w.as("ann", control.Operator), device, &operator.Config{EndToEnd: true, Relay: r.cfg,
		Socket: func() (net.PacketConn, error) { return nil, broken }}); !errors.Is(err, broken) {
		t.Errorf("Open: %v, want %v", err, broken)
	}
	w.wait("silence", func() bool { return w.agent.Status().State == signaling.Disconnected })
	s := must(operator.Open(ctx, w.as("ann", control.Operator), device, &operator.Config{EndToEnd: true, Relay: r.cfg, Socket: loopback}))
	defer s.Close()
	var why string
	w.wait("a direct path", func() bool {
		st := s.Status().Tunnel
		why = st.Why
		return st.State == tunnel.Connected && st.Path == tunnel.Direct && w.agent.Status().Tunnel.Path == tunnel.Direct
	})
	if !strings.HasPrefix(why, "direct: ") {
		t.Errorf("why: %q", why)
	}
}

// A second engineer is busy, and so is one who wants a node in between.
func TestEndToEndIsBusy(t *testing.T) {
	r := newRoad(t)
	w := newWorldWith(t, &control.Config{Relays: []control.Relay{r.control}}, agent.Config{Relay: r.cfg}, echo)
	r.serve(w)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := must(operator.Open(ctx, w.as("ann", control.Operator), device, &operator.Config{EndToEnd: true, Path: tunnel.RelayOnly, Relay: r.cfg}))
	defer s.Close()
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	for _, endToEnd := range []bool{true, false} {
		_, err := operator.Open(ctx, w.as("bob", control.Operator), device, &operator.Config{EndToEnd: endToEnd})
		if e, ok := errors.AsType[*operator.Error](err); !ok || e.Code != keys.ReasonBusy {
			t.Errorf("end to end %v: %v", endToEnd, err)
		}
	}
}
