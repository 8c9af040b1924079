package server_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/boothwire/boothwire/keys"
	"github.com/boothwire/boothwire/relay"
	"github.com/boothwire/boothwire/relay/server"
)

// What a relay does is counted by its reasons, for legs that are there and after them.
func TestRelayCounts(t *testing.T) {
	w := newWorld(t)
	s := w.session()
	a := s.dial(0)
	packet := make([]byte, 1000)
	w.wait("what finds nobody is counted", func() bool {
		a.Write(packet)
		return w.srv.Stats().Missed > 1000
	})
	b := s.dial(1)
	w.paired(a)
	w.send(a, b, packet)
	again := s.dial(1)
	w.paired(again)
	check := func(when string, st server.Stats) {
		t.Helper()
		waits, ages := uint64(0), uint64(0)
		for _, n := range st.Wait.Counts {
			waits += n
		}
		for _, n := range st.QueueAge.Counts {
			ages += n
		}
		if st.Replaced != 1 || waits != 1 || st.Wait.Sum <= 0 || ages < st.Writes || ages == 0 || st.Missed < 1000 || st.Dropped < st.Missed || st.Bytes < 2000 {
			t.Errorf("%s: %+v", when, st)
		}
	}
	check("while they are there", w.srv.Stats())
	for _, c := range []*relay.Conn{a, b, again} {
		c.Close()
	}
	w.wait("all are gone", func() bool { return w.srv.Stats().Legs == 0 })
	check("after them", w.srv.Stats())
}

// A relay's total rate is kept, and no session has all of it.
func TestRelayRateTotal(t *testing.T) {
	const total = 1_000_000 // bytes/s
	w := newWorld(t, func(c *server.Config) { c.RateTotal = keys.Rate(8 * total) })
	var got [2]atomic.Int64
	var from [2]*relay.Conn
	for i := range from {
		a, b := w.session().pair()
		from[i] = a
		go func() {
			buf := make([]byte, 2000)
			for {
				n, err := b.Read(buf)
				if err != nil {
					return
				}
				got[i].Add(int64(n))
			}
		}()
	}
	flood := func(span time.Duration) (took time.Duration) {
		batch := [][]byte{make([]byte, 1300), make([]byte, 1300), make([]byte, 1300)}
		began := time.Now()
		for time.Since(began) < span {
			from[0].WriteBatch(batch)
			from[1].WriteBatch(batch)
			time.Sleep(time.Millisecond)
		}
		return time.Since(began)
	}
	flood(2 * time.Second) // until it holds
	before := [2]int64{got[0].Load(), got[1].Load()}
	took := flood(2 * time.Second).Seconds()
	one, two := float64(got[0].Load()-before[0])/took, float64(got[1].Load()-before[1])/took
	t.Logf("%.0f and %.0f bytes/s of %d", one, two, total)
	if one+two > 2*total {
		t.Errorf("%.0f and %.0f bytes/s of %d", one, two, total)
	}
	if one < two/10 || two < one/10 {
		t.Errorf("unfair: %.0f and %.0f bytes/s", one, two)
	}
}
