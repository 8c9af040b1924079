package server

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
)

// Whoever has answered makes room for the next, and so does whoever hangs up. Those
// who wait too long are turned away.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{places: make(chan struct{}, 1)}
		come := func() *counted {
			near, far := net.Pipe()
			go far.Read(make([]byte, 10))
			t.Cleanup(func() { far.Close() })
			return &counted{Conn: near, leave: func() {}}
		}
		answers, hangsUp, last := come(), come(), come()
		if err := g.pass(answers); err != nil {
			t.Fatal(err)
		}
		if err := g.pass(hangsUp); !errors.Is(err, errBusy) {
			t.Errorf("before anybody is done: %v", err)
		}
		after := func(done func(), next *counted) {
			passed := make(chan error, 1)
			go func() { passed <- g.pass(next) }()
			synctest.Wait()
			if len(passed) != 0 {
				t.Error("two at once")
			}
			done()
			if err := <-passed; err != nil {
				t.Errorf("its turn: %v", err)
			}
		}
		after(func() { answers.Write([]byte("hello")) }, hangsUp)
		after(func() { hangsUp.Close() }, last)
		answers.Close() // whose place is another's
		if len(g.places) != 1 {
			t.Errorf("%d places are taken by one", len(g.places))
		}
		last.Close()
		if len(g.places) != 0 {
			t.Errorf("%d places are taken by nobody", len(g.places))
		}
	})
}
