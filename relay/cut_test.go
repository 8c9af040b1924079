package relay_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
)

// A call may be cut at any moment, of TLS, of the request or of the proof, and at the
// very end; the relay keeps nothing of it.
func TestCutCalls(t *testing.T) {
	w := newWorld(t, 1)
	began := time.Now()
	w.dial(0).Close()
	whole := time.Since(began)
	made := 0
	for range 100 {
		w.session = keys.NewID() // else they were a clone
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(2*whole))
		if c, err := relay.Dial(ctx, w.list(0), w.keys[0], w.config()); err == nil {
			made++
			c.Close()
		} else if codeOf(err) != "unreachable" {
			t.Errorf("a call that was cut: %v", err)
		}
		cancel()
	}
	t.Logf("%d of 100 were made", made)
	w.wait("nothing is left", func() bool { st := w.relays[0].srv.Stats(); return st.Legs == 0 && st.Open == 0 })
}
