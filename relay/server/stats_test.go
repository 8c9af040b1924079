package server_test

import (
	"slices"
	"sync"
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
	var got [4]atomic.Int64
	var work sync.WaitGroup
	over := make(chan struct{})
	defer work.Wait()
	defer close(over)
	for i := range got {
		a, b := w.session().pair()
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
		work.Go(func() { // three times the total, each
			batch := [][]byte{make([]byte, 1300), make([]byte, 1300), make([]byte, 1300)}
			for {
				select {
				case <-over:
					return
				case <-time.After(time.Millisecond):
					a.WriteBatch(batch)
				}
			}
		})
	}
	// It takes some seconds to hold, and then goes on to.
	const span = 2 * time.Second
	held := 0
	for end := time.Now().Add(patience); held < 2; {
		// The clock is read outside the counts: whatever comes between makes them less.
		began := time.Now()
		var each [len(got)]float64
		for i := range got {
			each[i] = -float64(got[i].Load())
		}
		time.Sleep(span)
		sum := 0.0
		for i := range got {
			each[i] += float64(got[i].Load())
			sum += each[i]
		}
		took := time.Since(began).Seconds()
		t.Logf("%.0f bytes in %.1f s, of %d bytes/s", each, took, total)
		if sum <= 1.5*total*took && slices.Min(each[:]) >= slices.Max(each[:])/10 {
			held++
			continue
		}
		held = 0
		if time.Now().After(end) {
			t.Fatalf("in %v it did not come to hold", patience)
		}
	}
}
