package control

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/control/client"
	"github.com/boothwire/boothwire/keys"
)

// BenchmarkNodeLost kills a node that has a thousand sessions, and measures from its
// last word until every device has proved another one. Devices and signalling are real,
// the nodes and tunnels played: what is measured is control, and the pace at which it
// lets devices come. Then two thousand, for the pace alone.
func BenchmarkNodeLost(b *testing.B) {
	for b.Loop() {
		for _, n := range []int{1000, 2000} {
			took := lose(b, n)
			fmt.Printf("bench control/node-lost-%d %.1f s %s\n", n, took.Seconds(), bar(n, took))
		}
	}
}

// bar is 20 s for up to a thousand sessions; beyond that 300 a second after the silence.
func bar(n int, took time.Duration) string {
	most := 20 * time.Second
	if n > 1000 {
		most += time.Duration(n-1000) * time.Second / 300
	}
	word := "ok"
	if took > most {
		word = "short"
	}
	return fmt.Sprintf("at-most %.1f %s", most.Seconds(), word)
}

func lose(b *testing.B, devices int) time.Duration {
	w := newWorld(b, &Config{Wakes: -1})
	defer w.stop()
	one := w.node("wg-1")
	var ready sync.WaitGroup
	booths := make([]*booth, devices)
	for i := range booths {
		booths[i] = w.booth(fmt.Sprintf("kiosk-%05d", i), true).serve()
	}
	slots := make(chan struct{}, 64)
	for _, d := range booths {
		d.known()
		one.proves(d)
		ready.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			s, err := w.open(op("ann"), d.keys.ID())
			if err != nil {
				b.Error(err)
				return
			}
			w.reaches(s.ID, client.Connected)
		})
	}
	ready.Wait()
	two := w.node("wg-2")
	var mu sync.Mutex
	came := 0
	all := make(chan struct{})
	for _, d := range booths {
		d.mu.Lock()
		d.proved = func(g *keys.Grant) {
			two.say(eventProved, g.Session, g.Rev, "")
			mu.Lock()
			defer mu.Unlock()
			if came++; came == devices {
				close(all)
			}
		}
		d.mu.Unlock()
	}
	w.c.mu.Lock()
	w.c.cfg.Wakes = defaultWakes
	w.c.mu.Unlock()
	began := time.Now()
	one.stop()
	select {
	case <-all:
	case <-time.After(5 * time.Minute):
		b.Fatalf("%d of %d sessions moved", came, devices)
	}
	took := time.Since(began)
	if n := w.nodeNow("wg-2").Sessions; n != devices {
		b.Errorf("%d sessions are at the other node", n)
	}
	return took
}
