package control

import (
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/internal/pool"
)

// Who comes and goes in a loop leaves addresses for the others, and has some again when
// his have rested.
func TestShares(t *testing.T) {
	const size = 4096
	var s shares
	now := time.Unix(1e9, 0)
	n := 0
	for s.take("mallory", size, now.Add(time.Duration(n)*time.Millisecond)) && n <= size {
		n++
	}
	if n != size*7/8 {
		t.Errorf("one user takes %d of %d", n, size)
	}
	if !s.take("ann", size, now) {
		t.Error("another one gets none")
	}
	now = now.Add(pool.Rest(pool.Operator) + time.Second)
	if !s.take("mallory", size, now) || len(s.taken["mallory"]) > 1+n-1000 {
		t.Errorf("of his %d count", len(s.taken["mallory"]))
	}
	s.take("bob", size, now.Add(2*pool.Rest(pool.Operator)))
	if len(s.taken) != 1 {
		t.Errorf("%d users are remembered", len(s.taken))
	}
	// A pool for a few has nothing to be shared out.
	for range 32 {
		if !s.take("eve", 32, now) {
			t.Fatal("of a small pool")
		}
	}
}

// Whoever took his share opens nothing, and is told why; nobody else is held up.
func TestShareOfAUser(t *testing.T) {
	w := newWorld(t, nil)
	n := w.node("wg-1")
	n.proves(w.booth("kiosk-1", true).serve().known())
	w.c.mu.Lock()
	size := w.c.pool.Size(pool.Operator)
	for w.c.shares.take("mallory", size, w.c.cfg.Now()) {
	}
	w.c.mu.Unlock()
	if _, err := w.open(op("mallory"), "kiosk-1"); code(err) != codeNoAddress {
		t.Errorf("he gets %v", err)
	}
	w.mustOpen(op("ann"), "kiosk-1")
	if _, err := w.open(op("mallory"), "kiosk-1"); code(err) != codeNoAddress {
		t.Errorf("he joins with %v", err)
	}
}
