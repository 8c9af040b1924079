package server

import (
	"errors"
	"runtime"
	"time"

	"github.com/boothwire/boothwire/relay/internal/sock"
)

// A gate lets only a few TLS handshakes compute at once. When a whole fleet comes back,
// there is more to compute than the processors can: if all went on together, all would
// take longer than their clients wait, and none came in. So each waits for its turn,
// and is turned away before it costs anything when that takes long, or when its client
// has hung up.
type gate struct{ places chan struct{} }

const (
	atOnce  = 2               // handshakes for each processor: one computes, one is ready to
	turnFor = 3 * time.Second // the proof that comes behind it has to be there after proveFor
)

var (
	errBusy = errors.New("relay: too many handshakes wait")
	errGone = errors.New("relay: hung up while it waited")
)

func newGate() *gate {
	return &gate{places: make(chan struct{}, atOnce*runtime.GOMAXPROCS(0))}
}

// pass waits for c's turn, which lasts until it answers.
func (g *gate) pass(c *counted) error {
	select {
	case g.places <- struct{}{}:
	default:
		t := time.NewTimer(turnFor)
		defer t.Stop()
		select {
		case g.places <- struct{}{}:
		case <-t.C:
			return errBusy
		}
	}
	if sock.Gone(c.Conn) {
		<-g.places
		return errGone
	}
	c.in.Store(g)
	return nil
}
