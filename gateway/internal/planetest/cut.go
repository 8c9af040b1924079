package planetest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/internal/reach"
)

// Cut measures how long after the call of Remove the last packet of a live TCP
// connection arrives at either end, once for each round, in a plane that holds as many
// sessions besides. Both ends write as fast as they can.
func Cut(t testing.TB, s Subject, sessions, rounds int) (took []time.Duration) {
	w := newWorld(t, s)
	for n := range sessions {
		described, _, _ := w.described(n + 1)
		w.set(described)
	}
	for n := range rounds {
		p := w.pair(sessions+n+1, func(s *reach.Session) { s.Up, s.Down = 20_000_000, 20_000_000 })
		var last lastArrival
		p.serves(ssh.Number, func(c net.Conn) {
			go flood(c)
			_, _ = io.Copy(io.Discard, c)
		})
		c := p.operator.dial(p.device, ssh.Number)
		go flood(c)
		go io.Copy(io.Discard, c)
		p.device.watch(last.now)
		p.operator.watch(last.now)
		time.Sleep(200 * time.Millisecond)
		start := time.Now()
		w.plane.Remove(p.ID)
		time.Sleep(500 * time.Millisecond)
		took = append(took, max(0, last.get().Sub(start)))
		c.Close()
	}
	return took
}

// flood writes until the connection ends.
func flood(c net.Conn) {
	for buf := make([]byte, 64<<10); ; {
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}

// lastArrival is when the last packet came.
type lastArrival struct {
	mu sync.Mutex
	at time.Time
}

func (l *lastArrival) now() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = time.Now()
}

func (l *lastArrival) get() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}
