package operator_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"testing"

	"github.com/boothwire/boothwire/gateway"
	"github.com/boothwire/boothwire/gateway/control"
	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/tunnel/agent"
	"github.com/boothwire/boothwire/tunnel/operator"
)

// mirror sends everything back as it comes.
func mirror(c net.Conn) { io.Copy(c, c) }

// A node drains: its session goes to another one and back, and a connection through it
// loses no byte.
func TestDrainMoves(t *testing.T) {
	w := newWorld(t, agent.Config{}, mirror)
	nodes := map[string]*gateway.Node{"wg-1": w.node, "wg-2": w.anotherNode("wg-2")}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	s := must(operator.Open(ctx, w.as("ann", control.Operator), device, nil))
	defer s.Close()
	conn, err := s.Dial(ctx, "tcp", ":22")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	admin := w.as("admin", control.Admin)
	for range 3 {
		from := w.state(s.ID()).Node
		var to string
		for name := range nodes {
			if name != from {
				to = name
			}
		}
		text := make([]byte, 1<<20)
		rand.Read(text)
		sent := make(chan error, 1)
		go func() {
			_, err := conn.Write(text)
			sent <- err
		}()
		if n := must(admin.DrainNode(ctx, from, client.DrainRequest{Draining: true, Move: true})); !n.Draining || !n.Moving {
			t.Errorf("drains as %+v", n)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("what came back differs, %v", err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		w.wait("the move", func() bool {
			now := w.state(s.ID())
			return now.Node == to && !now.Moving && s.Grant().Far.Node == to
		})
		w.wait("the node before lets go", func() bool { return len(nodes[from].Sessions()) == 0 && len(nodes[to].Sessions()) == 1 })
		if _, err := conn.Write([]byte("after")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, got[:5]); err != nil || string(got[:5]) != "after" {
			t.Fatalf("after the move: %q, %v", got[:5], err)
		}
		if now := w.state(s.ID()); now.State != client.Connected {
			t.Errorf("after the move: %+v", now)
		}
		must(admin.DrainNode(ctx, from, client.DrainRequest{}))
	}
	// What each of the nodes carried counts.
	conn.Close()
	s.Close()
	w.wait("all is counted", func() bool {
		now := w.state(s.ID())
		return now.State == client.Closed && now.Rx >= 3<<20 && now.Tx >= 3<<20 && now.Rx < 5<<20
	})
}
