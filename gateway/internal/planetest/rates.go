package planetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boothwire/boothwire/gateway/internal/reach"
	"github.com/boothwire/boothwire/internal/packet"
)

// slow is a limit that an emulated machine reaches which has other work as well.
const slow = 500_000 // bit/s

// rateDown and rateUp: a session gets its limit in each direction, and no more.
func rateDown(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p := w.pair(1, func(s *reach.Session) { s.Down = slow })
	w.pour(p.operator, p.ask(much))
	w.within("down", slow, p.device)
}

func rateUp(t *testing.T, s Subject) {
	w := newWorld(t, s)
	p := w.pair(1, func(s *reach.Session) { s.Up = slow })
	p.passes("a flow")
	w.pour(p.device, p.answer(much))
	w.within("up", slow, p.operator)
	p.Up = slow / 2
	w.set(p.Session)
	w.within("up, set lower", slow/2, p.operator)
}

// uplink: two sessions share the node's line evenly.
func uplink(t *testing.T, s Subject) {
	w := newWorld(t, s, func(c *Config) { c.Uplink = slow })
	var devices []*client
	for n := range 2 {
		p := w.pair(n + 1)
		w.pour(p.operator, p.ask(much))
		devices = append(devices, p.device)
	}
	w.within("both", slow, devices...)
}

// much fills a packet.
var much = strings.Repeat("x", mtu-packet.IPv4Header-packet.UDPHeader)

// pour has a client send a packet again and again until the case ends, twice as fast as
// any limit here, so that there is always one to pass: unlike a TCP connection, which
// slows down where a busy machine is late with answers.
func (w *world) pour(from *client, b []byte) {
	stop := make(chan struct{})
	var poured sync.WaitGroup
	poured.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for start, sent := time.Now(), 0; ; {
			for float64(sent*len(b)*8) < 2*slow*time.Since(start).Seconds() {
				from.send(b)
				sent++
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	w.t.Cleanup(func() {
		close(stop)
		poured.Wait()
	})
}

// window is the time of one measurement.
const window = 2 * time.Second

// within fails the case if there is no window in which each of those who receive gets
// his part of rate, give or take 15 %. Where the machine is too busy for it, what it lets
// a loop have that does no more than to keep a rate is enough.
func (w *world) within(what string, rate float64, who ...*client) {
	w.t.Helper()
	time.Sleep(window / 2) // a session may be faster for a moment
	w.sometime(what, func() (ok bool, got string) {
		before := make([]uint64, len(who))
		for i, c := range who {
			before[i] = c.total()
		}
		start := time.Now()
		least := min(rate, keep(rate, window)) / float64(len(who))
		most := rate / float64(len(who))
		ok = true
		for i, c := range who {
			now := float64(c.total()-before[i]) * 8 / time.Since(start).Seconds()
			ok = ok && now > least*0.85 && now < most*1.15
			got += fmt.Sprintf("%.0f bit/s, not %.0f to %.0f; ", now, least, most)
		}
		return ok, got
	})
}

// late is how late a plane's turn may come without its rate falling short.
const late = 10 * time.Millisecond

// keep returns the bit/s that come of packets at a rate, each of which waits for its
// turn, for a time. It is less than the rate where turns come late.
func keep(rate float64, d time.Duration) (got float64) {
	const bits = mtu * 8
	each := time.Duration(bits / rate * float64(time.Second))
	start := time.Now()
	for turn, now := start, start; now.Sub(start) < d; now = time.Now() {
		if turn.After(now) {
			time.Sleep(turn.Sub(now))
			continue
		}
		if earliest := now.Add(-late); turn.Before(earliest) {
			turn = earliest
		}
		turn = turn.Add(each)
		got += bits
	}
	return got / time.Since(start).Seconds()
}

// sometime fails the case if f never says true: what it measures may be short now and
// then on a machine that has other work, but not always.
func (w *world) sometime(what string, f func() (ok bool, got string)) {
	w.t.Helper()
	var ok bool
	var got string
	for range 20 {
		if ok, got = f(); ok {
			return
		}
	}
	w.t.Errorf("%s: %s", what, got)
}
