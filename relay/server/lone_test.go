package server_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/relay/server"
)

// An end whose other end never comes, because it has another path, keeps one leg for
// as long as its token lives, and is there when the other one needs it.
func TestRelayLoneLegWaits(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.Alone = 20 * time.Millisecond })
	s := w.session()
	a := s.dial(0)
	for range 3 {
		w.wait("it waits by itself", func() bool { return w.srv.Stats().Lone == 1 })
		b := s.dial(1)
		w.paired(b)
		w.wait("nobody waits", func() bool { return w.srv.Stats().Lone == 0 })
		w.send(b, a, []byte("needed"))
		b.Close()
	}
	if st := a.Stats(); st.Dials != 1 {
		t.Errorf("it dialled %d times", st.Dials)
	}
}

// A lone leg waits no longer than its token says.
func TestRelayLoneLegEnds(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.Alone = 20 * time.Millisecond })
	s := w.session()
	var a *relay.Conn
	for life := time.Second; a == nil; life *= 2 { // as short as the machine lets it come at all
		s.end = time.Now().Add(life)
		var err error
		if a, err = s.try(0); err != nil && life > patience {
			t.Fatal(err)
		}
	}
	for {
		if _, err := a.Read(make([]byte, 10)); err != nil {
			if codeOf(err) != "ended" {
				t.Errorf("at its token's end: %v", err)
			}
			break
		}
	}
	w.wait("nothing is left", func() bool { st := w.srv.Stats(); return st.Lone == 0 && st.Legs == 0 })
}

// Lone legs are few enough that those who meet find room, from one address and in all.
func TestRelayLoneLegsAreBounded(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("has no address but 127.0.0.1 on the loopback")
	}
	w := newWorld(t, func(c *server.Config) { c.Alone, c.Lone, c.LonePerIP = 20*time.Millisecond, 3, 2 })
	lone := func(n int) {
		t.Helper()
		w.wait("they wait", func() bool { return w.srv.Stats().Lone == n })
	}
	one := w.session()
	first := one.joinedFrom("127.0.0.1", 0, 1)
	lone(1)
	w.session().joinedFrom("127.0.0.1", 0, 1)
	lone(2)
	if code := w.session().joinedFrom("127.0.0.1", 0, 1).code(); code != "alone" {
		t.Errorf("a third one from one address: %s", code)
	}
	w.session().joinedFrom("127.0.0.2", 0, 1)
	lone(3)
	if code := w.session().joinedFrom("127.0.0.3", 0, 1).code(); code != "alone" {
		t.Errorf("a fourth one: %s", code)
	}
	// A later generation of a leg waits in its place.
	again := one.joinedFrom("127.0.0.1", 0, 2)
	if code := first.code(); code != "superseded" {
		t.Errorf("the older one: %s", code)
	}
	lone(3)
	// Whoever goes makes room.
	again.conn.Close()
	lone(2)
	w.session().joinedFrom("127.0.0.1", 0, 1)
	lone(3)
}

// A relay that lets nobody wait for longer than Alone.
func TestRelayLoneLegsAreRefused(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.Alone, c.Lone = 20*time.Millisecond, -1 })
	if code := w.session().joined(0, 1).code(); code != "alone" {
		t.Errorf("%s, want alone", code)
	}
}
