package kernel

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Devices that are woken one after the other, for minutes, are asked about meanwhile.
func TestListenerInStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, others atomic.Int32
		l := listen(func(time.Time) time.Duration { asked.Add(1); return askSoon }, func() { others.Add(1) })
		defer l.stop()
		const perSecond = 250
		for range 60 * perSecond {
			l.look()
			time.Sleep(time.Second / perSecond)
		}
		if got, want := asked.Load(), int32(time.Minute/askSoon/2); got < want {
			t.Errorf("asked %d times in a minute, want %d", got, want)
		}
		if got, want := others.Load(), int32(time.Minute/askRest/2); got < want {
			t.Errorf("asked about the rest %d times in a minute, want %d", got, want)
		}
	})
}

// Asking takes no more than its share of the time, however many are woken.
func TestListenerShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 200 * time.Millisecond
		var asked atomic.Int32
		l := listen(func(time.Time) time.Duration {
			asked.Add(1)
			time.Sleep(takes)
			return askSoon
		}, func() {})
		defer l.stop()
		for range 6000 {
			l.look()
			time.Sleep(10 * time.Millisecond)
		}
		if got, most := asked.Load(), int32(time.Minute/takes/shareRecent)+2; got > most {
			t.Errorf("asked %d times of %v in a minute, want %d", got, takes, most)
		}
	})
}
