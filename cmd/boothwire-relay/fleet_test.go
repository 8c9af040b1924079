//go:build linux

package main

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// A relay that carries a fleet is killed and started again: all who are still granted
// are back.
func TestFleetComesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	n, ended := 500, 20
	if os.Getenv("BOOTHWIRE_SOAK") == "1" {
		n = 5000 - ended
	}
	f := newFleet(t, "per_ip = 1024") // all are at one address, which no fleet is
	f.start()
	began := time.Now()
	empty := f.rss()
	f.open(n, time.Now().Add(time.Hour))
	// As long as all took, and they are few: so they come, however slow the machine is.
	end := time.Now().Add(3*time.Second + time.Since(began))
	f.open(ended, end)
	f.wait("all are there", func() bool { return f.sessions() == n+ended || time.Now().After(end) })
	legs := 2 * (n + ended)
	t.Logf("%d legs in %v, 32 at a time; relay: %v CPU, %.1f KiB RSS a leg", legs, time.Since(began), f.cpu(), float64(f.rss()-empty)/1024/float64(legs))
	f.kill()
	time.Sleep(time.Until(end) + time.Second) // their tokens' end, by the clock
	f.start()
	clients := ours()
	half, most, all := f.back(n)
	t.Logf("%d legs back: half after %v, 9 of 10 after %v, all after %v; relay: %v CPU, %.1f KiB RSS a leg, %d turned away; clients: %v CPU",
		2*n, half, most, all, f.cpu(), float64(f.rss()-empty)/1024/float64(2*n), f.refused(), ours()-clients)
	for i, s := range f.ends {
		for leg, c := range s {
			if i < n {
				f.wait(fmt.Sprintf("session %d, leg %d knows", i, leg), func() bool { return c.Stats().Paired })
			} else if st := c.Stats(); st.Paired {
				t.Errorf("session %d, leg %d is back after its end: %+v", i, leg, st)
			}
		}
	}
}
