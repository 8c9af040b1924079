package operator_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/tunnel"
	"github.com/boothwire/boothwire/tunnel/agent"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// An end-to-end session that somebody else extends gets the tokens of its longer life
// at both ends: when the first ones are over, a relay that is killed lets both in
// again. Without that it lets in nobody.
func TestExtendedByAnother(t *testing.T) {
	const first, later = 2 * time.Minute, 10 * time.Minute
	for _, extended := range []bool{true, false} {
		name := map[bool]string{true: "extended", false: "as it was"}[extended]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoad(t)
			var dials [2]atomic.Int32 // of the device, and of the operator
			counted := func(n *atomic.Int32) *relay.Config {
				c := *r.cfg
				c.Proxy = func(*http.Request) (*url.URL, error) { n.Add(1); return nil, nil }
				return &c
			}
			w := newWorldWith(t, &control.Config{Relays: []control.Relay{r.control}}, agent.Config{Relay: counted(&dials[0])}, echo)
			r.serve(w)
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			s := must(operator.Open(ctx, w.as("ann", control.Operator), device,
				&operator.Config{EndToEnd: true, Path: tunnel.RelayOnly, Relay: counted(&dials[1]), Lifetime: first}))
			defer s.Close()
			if err := s.Ready(ctx); err != nil {
				t.Fatal(err)
			}
			if extended {
				must(w.as("boss", control.Admin).ExtendSession(ctx, s.ID(), time.Hour))
				w.wait("both ends have the later grant", func() bool {
					return s.Grant().Rev == 2 && w.agent.Status().Session.Lifetime > first
				})
			}
			r.again(w, func() time.Time { return time.Now().Add(later) })
			for i := range dials {
				dials[i].Store(0) // an end dials twice only if the first came to nothing
			}
			if !extended {
				w.wait("both ends are refused", func() bool {
					return dials[0].Load() >= 2 && dials[1].Load() >= 2 && r.srv.Stats().Reasons["expired"] >= 2
				})
				if n := r.srv.Stats().Legs; n != 0 {
					t.Errorf("%d legs with tokens that are over", n)
				}
				return
			}
			w.wait("both legs are back", func() bool { return r.srv.Stats().Legs == 2 })
			conn, err := s.Dial(ctx, "tcp", ":22")
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		})
	}
}

// A session through a node that somebody else extends gets the later grant, with the
// tokens for relays of its longer life, and what goes through it goes on.
func TestNodeSessionExtendedByAnother(t *testing.T) {
	r := newRoad(t)
	w := newWorldWith(t, &control.Config{Relays: []control.Relay{r.control}}, agent.Config{Relay: r.cfg}, echo)
	r.serve(w)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := must(operator.Open(ctx, w.as("ann", control.Operator), device, &operator.Config{Relay: r.cfg, Lifetime: 2 * time.Minute}))
	defer s.Close()
	conn := must(s.Dial(ctx, "tcp", ":22"))
	defer conn.Close()
	before := s.Grant()
	v := must(w.as("boss", control.Admin).ExtendSession(ctx, s.ID(), time.Hour))
	w.wait("the later grant", func() bool { return s.Grant().Rev == v.Rev && s.Grant().End.Equal(v.Ends) })
	if !s.Grant().End.After(before.End) {
		t.Errorf("ends at %v, before at %v", s.Grant().End, before.End)
	}
	io.WriteString(conn, "still here")
	conn.(interface{ CloseWrite() error }).CloseWrite()
	conn.SetReadDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(conn); err != nil || string(got) != "still here" {
		t.Errorf("%q, %v", got, err)
	}
}
